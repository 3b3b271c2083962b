"""A clock that tests drive by hand, for parts that wait by a `watch.clock.Clock`."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable


class HandClock:
    """Stands still until `advance`; who sleeps wakes in the order of their times."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        waking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (self._now + seconds, next(self._numbers), waking))
        await waking

    async def advance(self, seconds: float, step: float = 0.5) -> None:
        """Lets so much time pass. In real time each step lasts a few milliseconds, so that sockets keep up."""
        end = self._now + seconds
        while self._now < end:
            self._now = min(self._now + step, end)
            while self._sleeping and self._sleeping[0][0] <= self._now:
                waking = heapq.heappop(self._sleeping)[2]
                if not waking.done():
                    waking.set_result(None)
            await asyncio.sleep(0.004)

    async def until(self, holds: Callable[[], object], seconds: float = 120.0) -> None:
        """Advances until it holds; an error when that is later than `seconds`."""
        end = self._now + seconds
        while not holds():
            if self._now >= end:
                raise AssertionError(f"{seconds:g} s have passed by hand and it does not hold")
            await self.advance(0.25, 0.25)


async def eventually(holds: Callable[[], object], seconds: float = 5.0) -> None:
    """Waits in real time until it holds; an error when that is later than `seconds`."""
    end = asyncio.get_running_loop().time() + seconds
    while not holds():
        if asyncio.get_running_loop().time() > end:
            raise AssertionError(f"it does not hold after {seconds:g} s")
        await asyncio.sleep(0.005)
