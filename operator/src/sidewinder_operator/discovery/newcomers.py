"""Whose turn it is to get its first picture: it costs the most, and all come at once when a replica goes. Asked by
`server`.

Few get it at a time, so that those few have it soon; the others wait in the order in which they came, on streams that
stand and answer. Nobody is sent away for that: a client that has to come again costs its handshake again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

MOST = 50  # clients at once that get their first picture
FIRST_SECONDS = 10.0  # for a first acknowledgement; a client that takes longer stands in nobody's way


class Newcomers:
    """All of a replica."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._served: set[Newcomer] = set()
        self._waiting: dict[Newcomer, None] = {}  # in the order in which they came

    def __repr__(self) -> str:
        return f"<Newcomers {len(self._served)} served, {len(self._waiting)} waiting>"

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    def enter(self, begin: Callable[[], None]) -> Newcomer:
        """`begin` is called when its turn has come, at the latest when it settles."""
        newcomer = Newcomer(self, begin)
        self._waiting[newcomer] = None
        self._call()
        return newcomer

    def leave(self, newcomer: Newcomer) -> None:
        """Called by `settle`."""
        self._waiting.pop(newcomer, None)
        self._served.discard(newcomer)
        self._call()

    def _call(self) -> None:
        while self._waiting and len(self._served) < self._most:
            newcomer = next(iter(self._waiting))
            del self._waiting[newcomer]
            self._served.add(newcomer)
            newcomer.begin()


class Newcomer:
    """One of them, until it has its first picture, or is gone, or its time is over."""

    def __init__(self, all_of_them: Newcomers, begin: Callable[[], None]) -> None:
        self._all = all_of_them
        self._begin: Callable[[], None] | None = begin
        self._timer: asyncio.TimerHandle | None = None
        self._settled = False

    def begin(self) -> None:
        """Its turn has come."""
        self._timer = asyncio.get_running_loop().call_later(FIRST_SECONDS, self.settle)
        self._start()

    def settle(self) -> None:
        """It stands in nobody's way any more; once or more often."""
        if self._settled:
            return
        self._settled = True
        if self._timer is not None:
            self._timer.cancel()
        self._start()
        self._all.leave(self)

    def _start(self) -> None:
        if self._begin is not None:
            begin, self._begin = self._begin, None
            begin()
