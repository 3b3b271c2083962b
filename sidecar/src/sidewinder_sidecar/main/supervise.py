"""Background tasks whose death is seen: logged with its traceback, counted, and the task started again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger("sidewinder")

PAUSE = 1.0  # seconds before a task that died is started again: a fault that stays must not fill the log
AGAIN = 0.2  # seconds after which a cancellation is repeated


class Supervisor:
    """`start` as many as needed; `stop` ends all."""

    def __init__(self, pause: float = PAUSE) -> None:
        self.deaths: dict[str, int] = {}
        self._pause = pause
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run it until `stop`; it is not meant to end before."""
        self.deaths[name] = 0
        self._tasks.append(asyncio.get_running_loop().create_task(self._watch(name, work), name=name))

    async def _watch(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
                log.error("the task %s has ended, which it should not; it is started again", name)
            except Exception:
                log.exception("the task %s has died; it is started again", name)
            self.deaths[name] += 1
            await asyncio.sleep(self._pause)

    async def stop(self) -> None:
        """Cancel all and wait for them."""
        waiting = set(self._tasks)
        while waiting:  # again for one that lost the first: wait_for can, up to Python 3.11
            for task in waiting:
                task.cancel()
            _, waiting = await asyncio.wait(waiting, timeout=AGAIN)
        self._tasks.clear()


async def every(seconds: float, work: Callable[[], None]) -> None:
    """Call it again and again."""
    while True:
        await asyncio.sleep(seconds)
        work()
