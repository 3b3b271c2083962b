"""A real `sidewinder up` on a copy of an example: started, asked, changed and ended by live tests."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from sidewinder_operator.cli.status import ask

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SIDEWINDER = Path(sys.executable).with_name("sidewinder")
START_SECONDS = 30.0  # a dozen processes on a busy machine; 2–3 s on an idle one


class Answer:
    """What came back: status, fields (lower case), body."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.fields = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    def json(self) -> Any:
        return json.loads(self.body)


class Up:
    """The process, its manifests and its output."""

    def __init__(
        self,
        folder: Path,
        state: Path,
        *options: str,
        environment: dict[str, str] | None = None,
        before: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.state = state
        self.lines: list[str] = []
        self._arrived = threading.Condition()
        command = [*before, str(SIDEWINDER), "up", "-f", str(folder), "--port", "0", "--state", str(state), *options]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._arrived:
                self.lines.append(line.decode().rstrip("\n"))
                self._arrived.notify_all()

    # ── waiting ───────────────────────────────────────────────────────────────────────────────────────────────────

    def told(self, text: str, *, after: int = 0, seconds: float = START_SECONDS) -> str:
        """The first line with this text among those from `after` on; waits for it."""

        def found() -> str | None:
            return next((line for line in self.lines[after:] if text in line), None)

        with self._arrived:
            self._arrived.wait_for(lambda: found() is not None, seconds)
            line = found()
        assert line is not None, f"{text!r} was not told within {seconds} s:\n" + "\n".join(self.lines)
        return line

    def until(self, holds: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> float:
        """Waits until it holds; returns how long that took."""
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < seconds, f"{what}: not within {seconds} s:\n" + "\n".join(self.lines)
            time.sleep(0.02)
        return time.monotonic() - began

    def ready(self) -> None:
        """Waits until everything answers."""
        self.told("ready:")

    # ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────

    def status(self) -> dict[str, Any]:
        """What `sidewinder status` says."""
        told: dict[str, Any] = json.loads(ask(self.state))
        return told

    def proxy(self, name: str) -> dict[str, Any]:
        """One proxy of the status, by name."""
        found: dict[str, Any] = next(proxy for proxy in self.status()["proxies"] if proxy["name"] == name)
        return found

    @cached_property
    def port(self) -> int:
        """The way in."""
        port: int = self.status()["wayIn"]["port"]
        return port

    def get(
        self, host: str, path: str = "/", *, port: int = 0, method: str = "GET", fields: dict[str, str] | None = None
    ) -> Answer:
        """One request through the way in (or another port), on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        try:
            connection.request(method, path, headers={"Host": host, **(fields or {})})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    # ── ending ────────────────────────────────────────────────────────────────────────────────────────────────────

    def end(self, number: int = signal.SIGINT, seconds: float = 30.0) -> int:
        """Sends a signal to `up` alone; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(seconds)
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@contextmanager
def running(example: str | Path, tmp_path: Path, *options: str, **keywords: Any) -> Iterator[Up]:
    """`sidewinder up` on a copy of an example; ended afterwards, however the test went."""
    source = EXAMPLES / example
    folder = tmp_path / source.name
    if not folder.exists():
        shutil.copytree(source, folder)
    up = Up(folder, tmp_path / "state", *options, **keywords)
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.end()


def relatives(folder: Path) -> list[str]:
    """The command lines of all living processes that this `up` and its children are: by a path in the environment."""
    marker = str(folder).encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state = (path / "stat").read_text().rpartition(") ")[2][0]
            if state not in "ZX" and marker in (path / "environ").read_bytes():
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
