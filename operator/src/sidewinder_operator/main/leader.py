"""What the one replica that leads does: statuses and Events, what is good kept in the cluster, kopf. Run by the Lease.

Everything here ends when the Lease is lost; `duties` are further works of the same kind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from sidewinder_operator.apiserver import FAILURES
from sidewinder_operator.handlers.thread import Handlers
from sidewinder_operator.problems import Reference
from sidewinder_operator.resources import Object
from sidewinder_operator.status.writer import Writer
from sidewinder_operator.watch.revisions import Revisions

log = logging.getLogger("sidewinder.leader")

Duty = Callable[[], Awaitable[None]]

GATHER_SECONDS = 1.0  # an edit that is taken back at once need not be kept
AGAIN_SECONDS = 5.0  # after a failure


class Leader:
    """Its parts live as long as the process; `lead` runs while this replica leads."""

    def __init__(
        self,
        writer: Writer,
        handlers: Handlers,
        revisions: Revisions,
        leader: Callable[[], bool],
        good: Callable[[], Mapping[Reference, Object]],
        duties: tuple[Duty, ...] = (),
    ) -> None:
        self._writer = writer
        self._handlers = handlers
        self._revisions = revisions
        self._leader = leader
        self._good = good
        self.duties = [*duties]  # what is added before the first term
        self._bell = asyncio.Event()

    def ring(self) -> None:
        """What is good may have changed."""
        self._bell.set()

    async def lead(self) -> None:
        """All works, until cancelled; one that fails ends all of them, and another replica leads."""
        self._writer.forget()
        self._bell.set()
        async with asyncio.TaskGroup() as group:
            for work in (self._writer.run, self._handlers.run, self._keep, *self.duties):
                group.create_task(_plain(work))

    async def _keep(self) -> None:
        """What another leader has kept meanwhile counts: read it first."""
        fresh = False
        while True:
            await self._bell.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._bell.clear()
            try:
                if not fresh:
                    await self._revisions.read()
                fresh = True
            except FAILURES as fault:
                log.warning("what was kept cannot be read: %s", str(fault) or type(fault).__name__)
            if not fresh or not await self._revisions.write(self._good(), self._leader):
                self._bell.set()
                await asyncio.sleep(AGAIN_SECONDS)


async def _plain(work: Duty) -> None:
    await work()
