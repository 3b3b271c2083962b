"""Which leaving pods nobody sends anything new to any more. Asked by `server`, which tells the pods.

A pod that leaves is ready in no picture; but sidecars go on with the picture they have acknowledged. It has retired
when no other sidecar, on any replica, holds a version of endpoints that names it as ready. Level-based, and never too
early:

1. A version that is not known here, and a sidecar of which nothing is known, may name anybody.
2. What was sent and is not answered may be held, and so may what a sidecar said of itself when it came (`Acks.maybe`).
3. What other replicas tell comes late. Each of them has to have sworn the pod off: that what it sends does not name the
   pod, and that all that it sent before has been told.
4. While a replica is not heard, nobody retires: a sidecar that is known here may be there meanwhile. When that lasts,
   those that are known here have answered pings since, and are here; the others may be there, and hold anything.
5. For a while after a replica has gone for good, those that are not known to be anywhere may hold what it had not told.
6. A pod that is a Service's last resort is named as ready, though it leaves: it has not retired, and is not sworn off.
   Once taken out it stays out (`compile.compiler.Running.left`): an oath holds for ever.

Cheap, because it looks only at the endpoints that have ever named one of those that leave: a look-up for each sidecar.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from typing import TypeAlias

from sidewinder_operator.discovery.acks import Acks
from sidewinder_operator.discovery.contents import PROXY, is_shared
from sidewinder_operator.discovery.store import Store

STRANGE_SECONDS = 30.0  # after which a sidecar that nobody has heard of holds nothing: those that live are back in 15 s


APART_SECONDS = 45.0  # without a replica, after which streams that were half-open then have ended (`server`'s pings)
LOOK_SECONDS = 0.05  # after something was acknowledged; looking takes a twentieth of the time at most
AGAIN_SECONDS = 1.0  # while somebody waits, since time alone tells that a sidecar does not come back
PATIENT_SECONDS = 2.0  # after which it is told for whom a pod waits; most have retired in a tenth of that
MOST_HOLDERS = 10  # that are named
MOST_HELD = 3  # pods of which that is found out in one look: 5 ms each among 5 000 sidecars

# Whom a pod waits for, "" for another replica of the operator, and why. Itself, where it is a last resort.
Holder: TypeAlias = tuple[str, str]


class Departures:
    """Over all replicas, if `acks` hears of them. `whole`: whether it has heard all that each of them has to say.
    `apart`: for how many seconds that was not so. `held` hears of each pod that has waited for long, and for whom."""

    def __init__(
        self,
        store: Store,
        acks: Acks,
        *,
        whole: Callable[[], bool] = lambda: True,
        apart: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.monotonic,
        held: Callable[[str, tuple[Holder, ...]], None] = lambda workload, holders: None,
    ) -> None:
        self._store = store
        self._acks = acks
        self._whole = whole
        self._apart = apart
        self._clock = clock
        self._tell_held = held
        self._waiting: dict[str, float] = {}  # pods that have not retired, since when
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
        self._say_held(leaving - retired)
        if leaving != retired:
            self._look_within(AGAIN_SECONDS)

    def _say_held(self, waiting: Collection[str]) -> None:
        now = self._clock()
        old = {pod: since for pod, since in self._waiting.items() if pod in waiting}
        self._waiting = old | {pod: now for pod in waiting if pod not in old}
        patient = [pod for pod, since in old.items() if now - since >= PATIENT_SECONDS]
        for pod in patient[:MOST_HELD]:  # the others' turn comes with the next look
            self._waiting[pod] = self._waiting.pop(pod)
            self._tell_held(pod, tuple(islice(self.holders(pod), MOST_HOLDERS)))

    def leaving(self, workload: str) -> bool:
        """Whether its pod goes, and its sidecar has acknowledged that."""
        picture, having = self._store.pictures.get(workload), self._acks.having.get(workload)
        if picture is None or having is None:
            return False
        version = picture.versions.get(PROXY)
        return self._store.contents.is_leaving(version) and having.versions.get(PROXY) == version

    def retired(self, leaving: Collection[str]) -> set[str]:
        """Those of these pods that no sidecar sends anything new to."""
        if self._is_deaf():
            return set()
        left = {pod for pod in leaving if self._acks.is_sworn(pod) and not self._store.is_kept(pod)}
        if not left:
            return left
        naming = self._store.contents.naming(left)
        seen: dict[str, set[str]] = {name: set() for name in naming}  # versions that were looked at
        for workload, holds in self._held():
            if holds is not None:
                self._subtract(left, workload, holds, naming, seen)
            if holds is None or (left and not self._is_familiar(workload, holds)):
                left &= {workload}
            if not left:
                return left
        for workload, may in self._acks.open():
            self._subtract(left, workload, may, naming, seen)
            if left and not self._knows(may):
                left &= {workload}
        return left

    def _is_deaf(self) -> bool:
        return not self._whole() and self._apart() < APART_SECONDS

    def holders(self, pod: str) -> Iterator[Holder]:
        """Why a pod has not retired: who may still send something new to it."""
        if self._store.is_kept(pod):  # all who know it name it
            yield pod, f"is the last resort of {' and '.join(self._store.contents.last_named(pod))}"
            return
        if self._is_deaf():
            yield "", "is not heard"
        elif not self._acks.is_sworn(pod):
            yield "", "has not said that it knows"
        naming = self._store.contents.naming({pod})
        for workload, holds in self._held():
            if workload == pod:
                continue
            if holds is None or self._names(pod, holds, naming) or not self._is_familiar(workload, holds):
                known = workload in self._acks.having
                yield workload, "has not acknowledged it" if known else "is not connected"
        for workload, may in self._acks.open():
            if workload != pod and (self._names(pod, may, naming) or not self._knows(may)):
                yield workload, "has not answered yet"

    def _names(self, pod: str, holds: Mapping[str, str], naming: Mapping[str, Mapping[str, frozenset[str]]]) -> bool:
        for name, versions in naming.items():
            if (version := holds.get(name)) is not None:
                ready = versions.get(version)
                if ready is None or pod in ready:
                    return True
        return False

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
        now, orphaned = self._clock(), self._acks.orphaned
        orphans = (orphaned is not None and now - orphaned <= STRANGE_SECONDS) or not self._whole()
        stranger: Mapping[str, str] | None = None
        if self._began is not None and now - self._began > STRANGE_SECONDS and not orphans:
            stranger = {}  # it has not come yet, or never will
        for workload in self._store.pictures:
            having = self._acks.having.get(workload) or (None if orphans else self._acks.absent.get(workload))
            if having is None:
                yield workload, stranger
            else:  # one that has refused its first picture serves on with what it has never told
                yield workload, having.versions or (None if having.rejections else having.versions)

    def _is_familiar(self, workload: str, versions: Mapping[str, str]) -> bool:
        """Whether it is known whom they name; looked at once, as long as they stay."""
        picture = self._store.pictures.get(workload)
        if self._familiar.get(workload) is versions or (picture is not None and picture.versions is versions):
            return True
        if not self._knows(versions):
            return False
        if len(self._familiar) > 2 * len(self._store.pictures):
            self._familiar.clear()
        self._familiar[workload] = versions
        return True

    def _knows(self, versions: Mapping[str, str]) -> bool:
        knows = self._store.contents.knows
        return all(knows(name, version) for name, version in versions.items() if is_shared(name))
