"""`make demo`: the bounded pass without a terminal, and what a person in a terminal sees."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, str(ROOT / "examples" / "demo.py")]
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]")


def test_one_bounded_pass_proves_the_main_job() -> None:
    done = subprocess.run(DEMO, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    for told in (
        "weights 90/10",
        "weights 50/50",
        "0 failed",
        "latency",
        "spans",
        "everything that was started is gone",
    ):
        assert told in done.stdout, done.stdout


class Terminal:
    """The demo on a pseudo-terminal."""

    def __init__(self) -> None:
        self.seen = b""
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        environment = {**os.environ, "TERM": "xterm"}
        self.process = subprocess.Popen(
            [*DEMO, "--rate", "40"], cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, env=environment,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )  # fmt: skip
        os.close(slave)

    def until(self, pattern: bytes, *, after: int = 0, seconds: float = 40.0) -> re.Match[bytes]:
        """The last match in what was shown since `after`; waits for one."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := [*re.finditer(pattern, ESCAPES.sub(b"", self.seen[after:]))]:
                return found[-1]
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.master, 65536)
                except OSError:  # the other end is closed
                    break
        raise AssertionError(f"{pattern!r} was not shown:\n{ESCAPES.sub(b'', self.seen).decode()[-3000:]}")


def test_a_terminal_shows_the_split_follow_the_manifest() -> None:
    terminal = Terminal()
    try:
        path = Path(terminal.until(rb"manifest +(\S+)")[1].decode())
        terminal.until(rb"v1 +\D+ 90\.0% .* [1-9]\d*\.\d%")
        terminal.until(rb"[1-9]\d* spans received")
        before = len(terminal.seen)
        path.write_text(path.read_text().replace("weight: 90", "weight: 0"))
        terminal.until(rb"v1 +\D+ 0\.0% +\D+ 0\.0%", after=before, seconds=10)
        terminal.until(rb"v2 +\D+ 100\.0% +\D+ 100\.0%", after=before, seconds=10)
        before = len(terminal.seen)
        path.write_text("kind: [")
        terminal.until(rb"canary\.yaml:\d+", after=before, seconds=15)
        os.write(terminal.master, b"\x03")
        terminal.until(rb"everything that was started is gone")
        assert terminal.process.wait(20) == 0
        assert not path.exists()
    finally:
        if terminal.process.poll() is None:
            terminal.process.terminate()
            terminal.process.wait(20)
        os.close(terminal.master)
