"""Background tasks whose death is seen: logged with its traceback, counted, and the task started again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger("sidewinder")

# A leader's kopf has 4 s to end and the Lease two requests of 3.3 s to be given back; then a cancellation is repeated,
# which `wait_for` can lose up to Python 3.11.
PATIENCE = 12.0
PAUSE = 1.0  # seconds before a task that died is started again: a fault that stays must not fill the log


class Supervisor:
    """`start` as many as needed; `stop` ends all."""

    def __init__(self, pause: float = PAUSE, patience: float = PATIENCE) -> None:
        self.deaths: dict[str, int] = {}
        self._pause = pause
        self._patience = patience
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Runs it until `stop`, or until the task that is returned is cancelled."""
        self.deaths.setdefault(name, 0)
        self._tasks = [task for task in self._tasks if not task.done()]
        task = asyncio.get_running_loop().create_task(self._watch(name, work), name=name)
        self._tasks.append(task)
        return task

    async def stop(self) -> None:
        """Cancels all and waits for them."""
        waiting = set(self._tasks)
        while waiting:
            for task in waiting:
                task.cancel()
            _, waiting = await asyncio.wait(waiting, timeout=self._patience)
        self._tasks.clear()

    async def _watch(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
                log.error("the task %s has ended, which it should not; it is started again", name)
            except Exception:  # a bug of ours must not end what else runs
                log.exception("the task %s has died; it is started again", name)
            self.deaths[name] += 1
            await asyncio.sleep(self._pause)
