"""Events about what no status can say: pods without a sidecar, old sidecars, a CA that cannot be used. Few of them.

A duty of the leader, run by `main`, which says by `look` what there is to be told. A thing is told when it has been so
at two looks in a row, and again only when its words have changed or a day has passed, and never more often than ten
minutes apart; a new leader tells everything once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

import msgspec

from sidewinder_operator.apiserver import FAILURES
from sidewinder_operator.problems import Reference
from sidewinder_operator.status.events import event
from sidewinder_operator.status.writer import Send

log = logging.getLogger("sidewinder.status")

LOOK_SECONDS = 30.0  # a pod that is just being replaced is none to talk about
AGAIN_SECONDS = 600.0
DAY_SECONDS = 86_400.0  # the API server forgets Events after an hour; who looks once a day should find it
AT_ONCE = 20  # in one look; the rest in the next


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What a person should see at an object. `api_version`: the object's."""

    about: Reference
    uid: str
    api_version: str = "v1"
    reason: str
    note: str


class Notices:
    """What was told, and when."""

    def __init__(
        self,
        send: Send,
        leader: Callable[[], bool],
        look: Callable[[], Iterable[Notice]],
        *,
        who: str,
        look_seconds: float = LOOK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._leader = leader
        self._look = look
        self._who = who
        self._look_seconds = look_seconds
        self._clock = clock
        self._seen: set[tuple[Reference, str]] = set()  # at the look before
        self._told: dict[tuple[Reference, str], tuple[str, float]] = {}  # words and time
        self.events = 0

    async def run(self) -> None:
        """Until cancelled."""
        self._seen.clear()
        while True:
            await asyncio.sleep(self._look_seconds)
            await self.once()

    async def once(self) -> None:
        """One look."""
        now, left = self._clock(), AT_ONCE
        there = {(each.about, each.reason): each for each in self._look()}
        for key, notice in sorted(there.items(), key=lambda pair: pair[0]):
            if left and key in self._seen and self._due(key, notice.note, now) and self._leader():
                left -= 1
                await self._tell(notice)
                self._told[key] = notice.note, now
        self._seen = {*there}
        self._told = {key: told for key, told in self._told.items() if now - told[1] < DAY_SECONDS}

    def _due(self, key: tuple[Reference, str], note: str, now: float) -> bool:
        if key not in self._told:
            return True
        words, at = self._told[key]
        return now - at >= (AGAIN_SECONDS if words != note else DAY_SECONDS)

    async def _tell(self, notice: Notice) -> None:
        """One that cannot be told is lost for a while: logs and metrics say the same."""
        condition = {"reason": notice.reason, "message": notice.note}
        path, body = event(notice.about, notice.uid, condition, self._who, notice.api_version)
        try:
            await self._send("POST", path, body)
        except FAILURES as fault:
            log.warning("an Event of %s: %s", notice.about, str(fault) or type(fault).__name__)
        else:
            self.events += 1
