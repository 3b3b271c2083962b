"""Who has acknowledged what: told by `server` after every message, asked by status, the command line and drains.

How many are required comes from the store's pictures, not from streams: a workload whose sidecar is away counts as
missing, and is named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import msgspec

from sidewinder_operator.discovery.session import Rejection, same
from sidewinder_operator.discovery.store import Store
from sidewinder_operator.problems import Reference


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How an object stands with those who need it. `rejections`: workload → why."""

    required: int = 0
    acknowledged: int = 0
    rejected: int = 0
    missing: tuple[str, ...] = ()
    rejections: Mapping[str, Rejection] = {}


class Having(msgspec.Struct, frozen=True, kw_only=True):
    """What one workload's sidecar has told. The highest epoch, its own count of its connections, wins."""

    epoch: int = 0
    versions: Mapping[str, str] = {}
    rejections: Mapping[str, Rejection] = {}


class Acks:
    """Workload → what it has acknowledged, compared with what the store wants it to have."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.having: dict[str, Having] = {}
        self._waiters: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self._watching: list[Callable[[], None]] = []
        store.watch(self._wake)

    def watch(self, wake: Callable[[], None]) -> None:
        """Calls `wake` after each answer and each publishing."""
        self._watching.append(wake)

    def tell(self, workload: str, having: Having) -> None:
        """What a workload's sidecar has now."""
        known = self.having.get(workload)
        if known is None or known.epoch <= having.epoch:
            self.having[workload] = having
            self._wake()

    def gone(self, workload: str, epoch: int) -> None:
        """Its stream ended: what it has is not known any more."""
        known = self.having.get(workload)
        if known is not None and known.epoch <= epoch:
            del self.having[workload]
            self._wake()

    def standing(self, source: Reference) -> Standing:
        """How many of how many proxies that need this object have all that comes from it as it is wanted."""
        needed: dict[str, dict[str, str]] = {}
        for workload, picture in self._store.pictures.items():
            names = {name: line.version for name, line in picture.resources.items() if source in line.sources}
            if names:
                needed[workload] = names
        return self._compare(needed)

    def standings(self, sources: Iterable[Reference]) -> dict[Reference, Standing]:
        """The same for many objects, in one walk over all pictures."""
        needed: dict[Reference, dict[str, dict[str, str]]] = {source: {} for source in sources}
        for workload, picture in self._store.pictures.items():
            for name, line in picture.resources.items():
                for source in line.sources:
                    if (of := needed.get(source)) is not None:
                        of.setdefault(workload, {})[name] = line.version
        return {source: self._compare(of) for source, of in needed.items()}

    def current(self, workload: str) -> bool:
        """The workload's sidecar has acknowledged exactly what it should have."""
        picture, having = self._store.pictures.get(workload), self.having.get(workload)
        return picture is not None and having is not None and same(having.versions, picture.versions)

    def behind(self) -> list[str]:
        """The workloads that have not acknowledged everything."""
        return [workload for workload in self._store.pictures if not self.current(workload)]

    async def all_current(self, seconds: float) -> bool:
        """Waits until nobody is behind; False when the time is over first."""
        return await self.until(lambda: not self.behind(), seconds)

    async def all_answered(self, seconds: float) -> bool:
        """Waits until everybody has acknowledged or rejected what is wanted; False when the time is over first."""
        return await self.until(self.answered, seconds)

    def answered(self) -> bool:
        """Everybody has acknowledged or rejected what is wanted."""
        return all(map(self._answered, self.behind()))

    def _answered(self, workload: str) -> bool:
        having = self.having.get(workload)
        return having is not None and bool(having.rejections)

    def _compare(self, needed: Mapping[str, Mapping[str, str]]) -> Standing:
        missing: list[str] = []
        rejections: dict[str, Rejection] = {}
        for workload, wanted in needed.items():
            having = self.having.get(workload, Having())
            if all(having.versions.get(name) == version for name, version in wanted.items()):
                continue
            missing.append(workload)
            for rejection in having.rejections.values():
                if any(rejection.versions.get(name) == version for name, version in wanted.items()):
                    rejections[workload] = rejection
        return Standing(
            required=len(needed),
            acknowledged=len(needed) - len(missing),
            rejected=len(rejections),
            missing=tuple(sorted(missing)),
            rejections=rejections,
        )

    async def until(self, holds: Callable[[], bool], seconds: float | None) -> bool:
        """Waits until `holds`, looked at after each answer and each publishing; False when the time is over first."""
        if holds():
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = holds
        try:
            await asyncio.wait_for(waiter, seconds)
        except TimeoutError:
            return False
        finally:
            del self._waiters[waiter]
        return True

    def _wake(self) -> None:
        for wake in self._watching:
            wake()
        for waiter, holds in self._waiters.items():
            if not waiter.done() and holds():
                waiter.set_result(None)
