"""Which leaving pods nobody sends anything new to any more. Asked by `server`, which tells the pods.

A pod that leaves is ready in no picture; but sidecars go on with the picture they have acknowledged. It has retired
when no other sidecar, on any replica, holds a version of endpoints that names it as ready. Level-based, and never too
early: a version that is not known here, and a sidecar of which nothing is known, may name anybody.

Cheap, because it looks only at the endpoints that have ever named one of those that leave: a look-up for each sidecar.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping

from sidewinder_operator.discovery.acks import Acks
from sidewinder_operator.discovery.contents import PROXY, is_shared
from sidewinder_operator.discovery.store import Store

STRANGE_SECONDS = 30.0  # after which a sidecar that nobody has heard of holds nothing: those that live are back in 15 s


LOOK_SECONDS = 0.05  # after something was acknowledged; looking takes a twentieth of the time at most
AGAIN_SECONDS = 1.0  # while somebody waits, since time alone tells that a sidecar does not come back


class Departures:
    """Over all replicas, if `acks` hears of them. `whole`: whether it has heard all that each of them has to say."""

    def __init__(
        self,
        store: Store,
        acks: Acks,
        *,
        whole: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._acks = acks
        self._whole = whole
        self._clock = clock
        self._began: float | None = None  # when there was something to come for
        store.watch(self._on_published)
        self._familiar: dict[str, Mapping[str, str]] = {}  # workload → versions all of which are known
        # who is told
        self._pods: Collection[str] = ()
        self._retire: Callable[[str], None] = lambda workload: None
        self._looking: asyncio.TimerHandle | None = None
        self._cost = 0.0  # seconds of the last look

    def tell(self, pods: Collection[str], retire: Callable[[str], None]) -> None:
        """Calls `retire` with those of `pods` that have retired, once or more often."""
        self._pods, self._retire = pods, retire
        self._acks.watch(self._on_news)

    def _on_published(self) -> None:
        if self._began is None:
            self._began = self._clock()

    def _on_news(self) -> None:
        if self._pods:
            self._look_within(max(LOOK_SECONDS, 20 * self._cost))

    def _look_within(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        if self._looking is not None:
            if self._looking.when() <= when:
                return
            self._looking.cancel()
        self._looking = loop.call_at(when, self._look)

    def _look(self) -> None:
        began = time.perf_counter()
        self._looking = None
        leaving = {workload for workload in self._pods if self.leaving(workload)}
        retired = self.retired(leaving) if leaving else set()
        for workload in retired:
            self._retire(workload)
        self._cost = time.perf_counter() - began
        if leaving != retired:
            self._look_within(AGAIN_SECONDS)

    def leaving(self, workload: str) -> bool:
        """Whether its pod goes, and its sidecar has acknowledged that."""
        picture, having = self._store.pictures.get(workload), self._acks.having.get(workload)
        if picture is None or having is None:
            return False
        version = picture.versions.get(PROXY)
        return self._store.contents.is_leaving(version) and having.versions.get(PROXY) == version

    def retired(self, leaving: Collection[str]) -> set[str]:
        """Those of these pods that no sidecar sends anything new to."""
        left = set(leaving)
        naming = self._store.contents.naming(left)
        seen: dict[str, set[str]] = {name: set() for name in naming}  # versions that were looked at
        for workload, holds in self._held():
            if holds is not None:
                self._subtract(left, workload, holds, naming, seen)
            if holds is None or (left and not self._is_familiar(workload, holds)):
                left &= {workload}
            if not left:
                break
        return left

    def _subtract(
        self,
        left: set[str],
        workload: str,
        holds: Mapping[str, str],
        naming: Mapping[str, Mapping[str, frozenset[str]]],
        seen: Mapping[str, set[str]],
    ) -> None:
        """Takes away those that one sidecar may call; it may call its own pod."""
        for name, versions in naming.items():
            version = holds.get(name)
            if version is None or version in seen[name]:
                continue
            ready = versions.get(version)
            if ready is None:
                left &= {workload}
            else:
                left -= ready - {workload}
                if workload not in ready:
                    seen[name].add(version)

    def _held(self) -> Iterator[tuple[str, Mapping[str, str] | None]]:
        """Each sidecar that there should be and what it holds; None for one that may hold anything."""
        stranger: Mapping[str, str] | None = None
        if self._whole() and self._began is not None and self._clock() - self._began > STRANGE_SECONDS:
            stranger = {}  # it has not come yet, or never will
        for workload in self._store.pictures:
            having = self._acks.having.get(workload) or self._acks.absent.get(workload)
            if having is None:
                yield workload, stranger
            else:  # one that has refused its first picture serves on with what it has never told
                yield workload, having.versions or (None if having.rejections else having.versions)

    def _is_familiar(self, workload: str, versions: Mapping[str, str]) -> bool:
        """Whether it is known whom they name; looked at once, as long as they stay."""
        picture = self._store.pictures.get(workload)
        if self._familiar.get(workload) is versions or (picture is not None and picture.versions is versions):
            return True
        knows = self._store.contents.knows
        if not all(knows(name, version) for name, version in versions.items() if is_shared(name)):
            return False
        if len(self._familiar) > 2 * len(self._store.pictures):
            self._familiar.clear()
        self._familiar[workload] = versions
        return True
