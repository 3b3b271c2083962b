"""The other bed of the chaos run: a whole `sidewinder up` of the canary, four applications and mutual TLS between.

Used by `run` for the cases of `matrix` that break what one sidecar alone does not have. What is measured is the way in.
"""

from __future__ import annotations

import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.chaos.bed import World, until
from tests.chaos.load import Load
from tests.chaos.network import mortal
from tests.support.local_mesh import Up, running

HOST = "reviews.bookinfo.localhost"
RATE = 40.0  # requests a second, each through three proxies and two applications that are no servers for load


class Mesh:
    """As a Bed, as far as a run asks."""

    def __init__(self, up: Up) -> None:
        self.up = up
        self.world = World()
        self.load = Load(up.port, RATE, host=HOST, path="/reviews/1", echo=False)
        self.notes: list[str] = []
        self.mended = 0.0
        self._door: dict[str, Any] = up.status()["proxies"][0]

    def metric(self, name: str) -> float:
        """Of the way in, the sum over its labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._door['ports']['probe']}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return sum(map(float, re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)))

    def retried(self) -> int:
        """Tries beyond the first."""
        return int(self.metric("sidewinder_retries_total"))

    def memory(self, what: str = "VmRSS") -> float:
        """The way in's, in MB."""
        text = Path(f"/proc/{self._door['processes']['sidecar']}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+) kB", text)[1]) / 1000  # type: ignore[index]

    def signal_up(self, number: int) -> None:
        """The operator of this machine."""
        self.up.process.send_signal(number)

    def kill(self, name: str) -> None:
        """The sidecar of an application; returns when another one is ready."""
        before = self.up.proxy(name)
        os.kill(before["processes"]["sidecar"], signal.SIGKILL)

        def again() -> bool:
            now = self.up.proxy(name)
            return bool(now["ready"] and now["restarts"] != before["restarts"])

        self.notes.append(f"another one ready after {until(again, 'another sidecar', 30.0):.1f} s")


@contextmanager
def mesh(folder: Path, options: tuple[str, ...]) -> Iterator[Mesh]:
    """A mesh that ends with the block."""
    with running("canary", folder, *options, before=mortal("INT")) as up:
        up.ready()
        made = Mesh(up)
        try:
            yield made
        finally:
            up.process.send_signal(signal.SIGCONT)
            made.world.close()
