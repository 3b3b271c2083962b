"""The kubelet's probes of the application, asked on its behalf: what `/probes/CONTAINER/WHAT` on the probe port does.

The kubelet cannot ask the application itself: its connection would be the proxy's. Made by `pages` from the settings,
and independent of everything else: probes are asked before there is a configuration, and while the proxy drains. Asked
is what the injector has written (`snapshot/probes`) and nothing else, whoever asks, and callers learn a status at most.
"""

from __future__ import annotations

import asyncio
import logging
import time

from sidewinder_sidecar.admin import Page, Pages, answer, problem
from sidewinder_sidecar.main.question import Failed, put
from sidewinder_sidecar.snapshot.probes import Probe, decode, path

log = logging.getLogger("sidewinder.probes")

FRESH_SECONDS = 0.1  # an answer is good for that long: the kubelet asks once a second at most, a stranger at will
MOST_JOINED = 4  # who wait for an answer that somebody else has asked for


def pages(address: str, text: str) -> Pages:
    """A page a probe of SIDEWINDER_PROBES, asked at this address. Raises snapshot.probes.Unusable."""
    return {("GET", path(name)): Probing(name, address, probe).page for name, probe in decode(text).items()}


class Probing:
    """One probe. It is asked once at a time, and who comes meanwhile shares the answer."""

    def __init__(self, name: str, address: str, probe: Probe) -> None:
        self._name = name
        self._address = address
        self._probe = probe
        self._running: asyncio.Task[str] | None = None
        self._joined = 0
        self._told = ""  # "": passed, else why not
        self._known_at: float | None = None  # when that was found out

    async def page(self) -> Page:
        """What the kubelet is told."""
        if self._known_at is not None and time.monotonic() - self._known_at < FRESH_SECONDS:
            return self._page(self._told)
        if self._running is None:
            self._running = asyncio.create_task(self._ask(), name=f"probe {self._name}")
            return self._page(await asyncio.shield(self._running))
        if self._joined >= MOST_JOINED:
            return problem(503, f"{self._name}: enough ask already")
        self._joined += 1
        try:
            return self._page(await asyncio.shield(self._running))
        finally:
            self._joined -= 1

    def _page(self, why: str) -> Page:
        return problem(503, f"{self._name}: {why}") if why else answer(200, {"status": "passed", "probe": self._name})

    async def _ask(self) -> str:
        why = how = ""
        try:
            how = await put(self._probe, self._address)
        except Failed as fault:
            why = str(fault)
        finally:
            self._running = None
        if self._known_at is None or why != self._told:
            # The kubelet's Event names a status alone; this is where the reason stands. Once, until it is another.
            log.log(logging.WARNING if why else logging.INFO, "%s: %s", self._name, why or f"passed{how}")
        self._told, self._known_at = why, time.monotonic()
        return why
