"""Who has acknowledged what: told by `server` after every message, asked by status, the command line and drains.

1. How many are required comes from the store's pictures, not from streams: a workload whose sidecar is away counts as
   missing, and is named.
2. Several replicas of the operator may each have a stream of the same workload, for as long as an old one takes to end.
   What each has been told is kept apart; the highest epoch, which the sidecar counts, is what holds (`having`).
3. Of one replica the last word counts: it knows which of two streams is the newer.
4. What a sidecar may have applied without our knowing, since it was sent and not answered, or since the sidecar said so
   when it came, is kept apart (`maybe`): it counts against a pod that leaves, and for nobody.
5. A replica swears off a pod (`sworn`): nothing that it sends from here on names the pod as ready, and what it sent
   before has been told. What it told counts for that pod from there on alone, for it is told late.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import msgspec

from sidewinder_operator.discovery.session import Rejection, same
from sidewinder_operator.discovery.store import Store
from sidewinder_operator.discovery.words import Words
from sidewinder_operator.problems import Reference
from sidewinder_sidecar.snapshot import stream


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How an object stands with those who need it. `rejections`: workload → why."""

    required: int = 0
    acknowledged: int = 0
    rejected: int = 0
    missing: tuple[str, ...] = ()
    rejections: Mapping[str, Rejection] = {}


class Having(msgspec.Struct, frozen=True, kw_only=True):
    """What one workload's sidecar has told. `epoch`: its own count of its connections. `build`: its version. `wants`:
    what it asked for beyond what everybody in its namespace gets. `trusts`, `renewed`: as in `stream.Trusts`. `until`:
    when the certificate that it came with ends, in seconds since 1970; 0: it came with none. `health`: what it has
    found out of the endpoints that it checks. `ejected`: which endpoints it leaves alone, by backend."""

    epoch: int = 0
    versions: Mapping[str, str] = {}
    rejections: Mapping[str, Rejection] = {}
    build: str = ""
    wants: tuple[str, ...] = ()
    trusts: tuple[str, ...] = ()
    renewed: bool = False
    until: int = 0
    health: Mapping[str, bool] = {}
    ejected: Mapping[str, tuple[stream.Ejected, ...]] = {}

    def equals(self, other: Having) -> bool:
        """Whether it says the same; of equal versions mostly without looking inside."""
        return (
            self.epoch == other.epoch
            and same(self.versions, other.versions)
            and self.rejections == other.rejections
            and self.build == other.build
            and self.wants == other.wants
            and self.trusts == other.trusts
            and self.renewed == other.renewed
            and self.until == other.until
            and same(self.health, other.health)
            and same(self.ejected, other.ejected)
        )


class Maybe(msgspec.Struct, frozen=True, kw_only=True):
    """What one workload's sidecar may hold besides what it has acknowledged. `epoch`: of the stream."""

    epoch: int = 0
    versions: tuple[Mapping[str, str], ...] = ()


_NOTHING = Having()


class Acks:
    """Workload → what it has acknowledged, compared with what the store wants it to have."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self.having: dict[str, Having] = {}  # what holds, over all replicas
        self.absent: dict[str, Having] = {}  # what held of those that have no stream any more
        self.own: dict[str, Having] = {}  # what this replica's streams have told
        self.maybe: dict[str, Maybe] = {}  # of this replica's streams, of those that ended unanswered, too
        self._peers: dict[str, dict[str, Having]] = {}  # replica → what it has been told
        self._maybe: dict[str, dict[str, Maybe]] = {}  # the same of what may be
        self._sworn: dict[str, set[str]] = {}  # replica → pods that it has sworn off
        self.orphaned: float | None = None  # when a replica was last forgotten, with what it had not told yet
        self._waiters: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self._watching: list[Callable[[], None]] = []
        self._listening: list[tuple[Callable[[str], None], Callable[[], None]]] = []
        self._leaving: frozenset[str] = frozenset()  # as listeners were last told
        self._caring: list[Callable[[], None]] = []
        self._words = Words.of_loop(self._wake_caring)
        store.watch(self._on_published)

    def watch(self, wake: Callable[[], None]) -> None:
        """Calls `wake` after each answer and each publishing."""
        self._watching.append(wake)

    def care(self, wake: Callable[[], None]) -> None:
        """Calls `wake` whenever `health` may be another, or a last resort is none to another replica."""
        self._caring.append(wake)

    def listen(self, heard: Callable[[str], None], left: Callable[[], None] = lambda: None) -> Callable[[], None]:
        """Calls `heard` with each workload of which `own` or `maybe` has changed, and `left` when other pods leave;
        returns how to stop."""
        both = heard, left
        self._listening.append(both)
        return lambda: self._listening.remove(both)

    # ── this replica's streams ────────────────────────────────────────────────────────────────────────────────────

    def tell(self, workload: str, having: Having) -> None:
        """What a workload's sidecar has now."""
        known = self.own.get(workload)
        if known is not None and known.equals(having):
            return  # most messages are pongs
        self.own[workload] = having
        self._on_own(workload)

    def expect(self, workload: str, maybe: Maybe) -> None:
        """What its newest stream leaves open; before it is sent."""
        known = self.maybe.get(workload)
        if maybe.versions:
            if known is not None and known.epoch == maybe.epoch and _are(known.versions, maybe.versions):
                return
            self.maybe[workload] = maybe
        elif self.maybe.pop(workload, None) is None:
            return
        for heard, _ in self._listening:
            heard(workload)
        if not maybe.versions:
            self._wake()

    def claim(self, workload: str, having: Having) -> None:
        """What it says that it has, when it comes; counts for `absent` alone, until it has acknowledged something."""
        if workload not in self._store.pictures or workload in self.having:
            return
        known = self.absent.get(workload)
        if known is None or known.epoch <= having.epoch:
            self.absent[workload] = having

    def gone(self, workload: str, epoch: int) -> None:
        """Its stream ended: what it has is not known any more."""
        known = self.own.get(workload)
        if known is not None and known.epoch <= epoch:
            del self.own[workload]
            self._on_own(workload)

    def _on_own(self, workload: str) -> None:
        self._settle(workload)
        for heard, _ in self._listening:
            heard(workload)
        self._wake()

    # ── those of the others ───────────────────────────────────────────────────────────────────────────────────────

    def hear(self, replica: str, news: Mapping[str, Having | None]) -> None:
        """What another replica was told; None: that workload has no stream there any more."""
        theirs = self._peers.setdefault(replica, {})
        for workload, having in news.items():
            if having is None:
                theirs.pop(workload, None)
            else:
                theirs[workload] = having
            self._settle(workload)
        if news:
            self._wake()

    def hear_rest(
        self, replica: str, maybe: Mapping[str, Maybe], sworn: Collection[str], over: Collection[str]
    ) -> None:
        """What another replica leaves open (nothing: no versions), and which pods it has sworn off besides, or need
        not any more. After `hear`, of the same moment."""
        if not (maybe or sworn or over):
            return
        theirs = self._maybe.setdefault(replica, {})
        for workload, each in maybe.items():
            if each.versions:
                theirs[workload] = each
            else:
                theirs.pop(workload, None)
        self._sworn[replica] = (self._sworn.get(replica, set()) | set(sworn)) - set(over)
        if any(map(self._store.is_kept, sworn)):  # no last resort any more: replicas agree
            self._wake_caring()
        if maybe or sworn:
            self._wake()

    def replace(
        self,
        replica: str,
        having: Mapping[str, Having],
        maybe: Mapping[str, Maybe] | None = None,
        sworn: Collection[str] = (),
    ) -> None:
        """All that another replica was told, in place of what is known of it."""
        gone = self._peers.get(replica, {}).keys() - having.keys()
        self._maybe.pop(replica, None)
        self._sworn.pop(replica, None)
        self.hear(replica, {**dict.fromkeys(gone), **having})
        self.hear_rest(replica, maybe or {}, sworn, ())

    def forget(self, replica: str) -> None:
        """What a replica was told does not count any more."""
        if replica in self._peers:
            self.orphaned = self._clock()
        self._maybe.pop(replica, None)
        self._sworn.pop(replica, None)
        theirs = self._peers.pop(replica, {})
        for workload in theirs:
            self._settle(workload)
        if theirs:
            self._wake()

    def _settle(self, workload: str) -> None:
        """Equal epochs, which no sidecar gives, go to this replica and then to the first by name."""
        found = self.own.get(workload)
        for replica in sorted(self._peers):
            theirs = self._peers[replica].get(workload)
            if theirs is not None and (found is None or theirs.epoch > found.epoch):
                found = theirs
        self._compare_health(workload, found)
        if found is None:
            last = self.having.pop(workload, None)
            if workload not in self._store.pictures:
                self._store.forget(workload)
            elif last is not None:
                self.absent[workload] = last
            return
        self.absent.pop(workload, None)
        self.having[workload] = found
        if found is not self.own.get(workload):  # its picture is the same here as where its stream is
            self._store.adopt(workload, found.wants)
        maybe = self.maybe.get(workload)
        if maybe is not None and maybe.epoch < found.epoch:  # its stream has ended, and another one knows better
            self.expect(workload, Maybe())

    def _compare_health(self, workload: str, found: Having | None) -> None:
        """The word of who has a stream no more holds for a moment."""
        known = self.having.get(workload)
        if found is None:
            if known is not None and workload in self._store.pictures:
                self._words.hold(workload, known.health)
            return
        held = self._words.drop(workload)
        if not same(held if known is None else known.health, found.health):
            self._wake_caring()

    def _wake_caring(self) -> None:
        for wake in self._caring:
            wake()

    def say(self, workload: str, health: Mapping[str, bool]) -> None:
        """What a sidecar knows of endpoints, before it has acknowledged anything."""
        if workload not in self.having:
            self._words.hold(workload, health)
            self._wake_caring()

    def health(self) -> dict[str, Mapping[str, bool]]:
        """Workload → what it says of the endpoints that it checks."""
        said = {workload: having.health for workload, having in self.having.items() if having.health}
        return {**self._words.held(), **said}

    def _on_published(self) -> None:
        for workload in self.absent.keys() - self._store.pictures.keys():
            del self.absent[workload]
            self._store.forget(workload)
        self._words.keep(self._store.pictures)
        for workload in self.maybe.keys() - self._store.pictures.keys():
            self.expect(workload, Maybe())
        if self._leaving != self._store.leaving:
            self._leaving = frozenset(self._store.leaving)
            for _, left in self._listening:
                left()
        self._wake()

    # ── what may be ───────────────────────────────────────────────────────────────────────────────────────────────

    def open(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Workloads, and what their sidecars may hold besides what they have acknowledged; one may come twice."""
        for told in (self.maybe, *self._maybe.values()):
            for workload, maybe in told.items():
                having = self.having.get(workload)
                if workload in self._store.pictures and (having is None or maybe.epoch >= having.epoch):
                    for versions in maybe.versions:
                        yield workload, versions

    @property
    def leaving(self) -> Collection[str]:
        """The pods that this replica has sworn off."""
        return self._leaving

    def sworn(self) -> set[str]:
        """The pods that some other replica has sworn off."""
        return set[str]().union(*self._sworn.values())

    def is_sworn(self, workload: str) -> bool:
        """Every other replica that is heard has sworn this pod off."""
        return all(workload in self._sworn.get(replica, ()) for replica in self._peers)

    # ── how it stands ─────────────────────────────────────────────────────────────────────────────────────────────

    def standing(self, source: Reference) -> Standing:
        """How many of how many proxies that need this object have all that comes from it as it is wanted."""
        return self._compare(self._store.needing(source))

    def standings(self, sources: Iterable[Reference]) -> dict[Reference, Standing]:
        """The same for many objects."""
        return {source: self.standing(source) for source in sources}

    def wanted(self, workload: str) -> Mapping[str, str]:
        """What a workload should have: names and versions."""
        picture = self._store.pictures.get(workload)
        return picture.versions if picture is not None else {}

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
            if having.versions is self.wanted(workload):  # mostly: it has all that it should
                continue
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


def _are(one: tuple[Mapping[str, str], ...], other: tuple[Mapping[str, str], ...]) -> bool:
    """The very same mappings."""
    return len(one) == len(other) and all(mine is yours for mine, yours in zip(one, other, strict=True))
