"""How proxies have left: what each said last, kept for people. Told by `server`, asked by pages and the command line.

A replica knows of those whose stream it had; what it has told is in its log, too.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from sidewinder_sidecar.snapshot import stream

log = logging.getLogger("sidewinder.drains")

MOST = 200  # the last ones, 100 KB: a rollout of a large Deployment


class Drain(msgspec.Struct, frozen=True, kw_only=True):
    """One of them. `at`: seconds since 1970. `held`: who might still have sent something new when that was last asked,
    where it was waited for longer than usual."""

    who: str
    at: float
    report: stream.Drained
    held: tuple[str, ...] = ()


def _log(who: str, how: str, bad: bool) -> None:
    log.log(logging.WARNING if bad else logging.INFO, "%s %s", who, how)


class Drains:
    """The last `MOST` of this replica. `name`: a person's word for a workload; `observe` hears how long each took;
    `say` who it was, how it went, and whether something was lost."""

    def __init__(
        self,
        name: Callable[[str], str],
        observe: Callable[[float], None] = lambda seconds: None,
        say: Callable[[str, str, bool], None] = _log,
    ) -> None:
        self._name = name
        self._observe = observe
        self._say = say
        self._last: deque[Drain] = deque(maxlen=MOST)
        self._held: dict[str, tuple[str, ...]] = {}  # workload → for whom it waits
        self.count = self.cut = 0

    def hold(self, workload: str, holders: tuple[tuple[str, str], ...]) -> None:
        """A pod goes on waiting until nobody sends it anything new, for these (`departures.Holder`): said once, since
        they may be others every second."""
        named = tuple(f"{self._called(who, workload)} {why}" for who, why in holders)
        before = self._held.pop(workload, None)
        if before is None:
            self._say(self._name(workload), f"leaves, and may still be called: {'; '.join(named)}", False)
        own = (word for word in before or () if word.startswith("it "))  # it was a last resort: told to the end
        self._held[workload] = tuple(dict.fromkeys((*own, *named)))
        if len(self._held) > MOST:  # killed, or without a last word
            del self._held[next(iter(self._held))]

    def _called(self, who: str, workload: str) -> str:
        return "it" if who == workload else self._name(who) if who else "another replica of the operator"

    def tell(self, workload: str, report: stream.Drained) -> None:
        """A proxy has ended in order."""
        who = self._name(workload)
        self.count += 1
        self.cut += report.cut_requests
        held = self._held.pop(workload, ())
        self._last.append(Drain(who=who, at=time.time(), report=report, held=held))
        self._observe(report.drained)
        self._say(who, sentence(report, held), report.cut_requests > 0)

    def told(self) -> list[dict[str, Any]]:
        """All that is kept, the oldest first, for JSON."""
        found: list[dict[str, Any]] = msgspec.to_builtins(list(self._last))
        return found


def sentence(report: stream.Drained, held: tuple[str, ...] = ()) -> str:
    """How it went, after the proxy's name."""
    said = f"drained in {report.drained:.3f} s: {waited(report)}; {cut(report)}"
    if report.retired:
        said += f"; nobody sent anything new {report.retired:.3f} s after it began to leave"
    return f"{said}; {waited_for(held)}" if held else said


def waited_for(held: tuple[str, ...]) -> str:
    """Who kept it waiting longer than usual."""
    return f"waited to be forgotten: {'; '.join(held)}"


def waited(report: stream.Drained) -> str:
    """What ran when it was told to stop."""
    kinds = ((report.upgraded, "upgraded"), (report.relayed, "relayed"))
    among = ", ".join(f"{count} {kind}" for count, kind in kinds if count)
    requests = f"{report.requests} requests{f' ({among})' if among else ''}"
    return f"waited for {requests} on {report.connections} connections"


def cut(report: stream.Drained) -> str:
    """What did not end in time."""
    if not (report.cut_requests or report.cut_connections):
        return "nothing was cut"
    return f"{report.cut_requests} requests and {report.cut_connections} connections were cut"
