"""All issuers' keys: fetched when they are due, kept when their issuer is away. Run by the leader, and by `up`.

1. `want` says which key sets policies need; one that is new is fetched at once, one that nobody needs is forgotten.
2. What is good stays until something good comes: an issuer that is away or lies changes `problem`, never the keys.
3. `doubt` brings the next fetch forward, but no key set is fetched twice within REST_SECONDS by that: callers who make
   up key ids reach the issuer as often as nobody.
4. `changed` is called when keys or problems are others than before; nothing else is worth a word.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping

from sidewinder_operator.issuers import freshness
from sidewinder_operator.issuers.fetch import Answer, Before, Fetcher, Unavailable
from sidewinder_operator.issuers.shelf import Kept
from sidewinder_operator.resources.keys import Fetched, Wanted

log = logging.getLogger("sidewinder.issuers")

REST_SECONDS = 30.0
AT_ONCE = 8  # issuers asked at a time
MOST = 1000  # key sets; a mesh has a handful, and who writes policies must not make the operator a crawler


class Set:
    """One key set. Times are of the loop's clock."""

    def __init__(self, wanted: Wanted, kept: Kept) -> None:
        self.wanted = wanted
        self.kept = kept
        self.due = 0.0
        self.asked = -REST_SECONDS
        self.failures = 0
        self.busy = False


class Keeper:
    """`known`: what was held before, by name; a set that it has is there before the first fetch."""

    def __init__(
        self,
        fetcher: Fetcher,
        changed: Callable[[], None],
        *,
        known: Mapping[str, Kept] | None = None,
        clock: Callable[[], float] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._fetcher = fetcher
        self._changed = changed
        self._known = dict(known or {})
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._chance = chance
        self._sets: dict[str, Set] = {}
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        # what metrics ask for
        self.fetches: dict[str, int] = {"new": 0, "same": 0, "failed": 0}
        self.doubts = 0

    def want(self, wanted: Mapping[str, Wanted]) -> None:
        """These, and no others."""
        for name in [name for name in self._sets if name not in wanted]:
            del self._sets[name]
        for name, each in wanted.items():
            known = self._sets.get(name)
            if known is not None:
                known.wanted = each
            elif len(self._sets) < MOST:
                self._sets[name] = Set(each, self._known.get(name, Kept()))
        self._wake.set()

    def doubt(self, names: Iterable[str]) -> None:
        """These may lack a key: fetch them soon."""
        for name in names:
            if (found := self._sets.get(name)) is not None:
                self.doubts += 1
                found.due = min(found.due, max(self._clock(), found.asked + REST_SECONDS))
        self._wake.set()

    def kept(self) -> dict[str, Kept]:
        """What is held, and what is known to be wrong."""
        return {name: each.kept for name, each in sorted(self._sets.items()) if each.kept.jwks or each.kept.problem}

    def fetched(self) -> dict[str, Fetched]:
        """For Cluster.keys: what is held, and what was before anybody said what is wanted."""
        return fetched({**self._known, **self.kept()})

    async def run(self) -> None:
        """Fetches what is due, until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._wake.clear()
                until = self._begin()
                alarm = loop.call_later(until, self._wake.set) if until is not None else None
                try:
                    await self._wake.wait()
                finally:
                    if alarm is not None:
                        alarm.cancel()
        finally:
            for task in self._tasks:
                task.cancel()
            for each in self._sets.values():
                each.busy = False
            await self._fetcher.close()

    def _begin(self) -> float | None:
        """Starts what is due; returns the seconds until the next is."""
        now = self._clock()
        for each in sorted(self._sets.values(), key=lambda each: each.due):
            if each.due <= now and not each.busy and len(self._tasks) < AT_ONCE:
                each.busy = True
                task = asyncio.get_running_loop().create_task(self._renew(each), name=f"keys {each.wanted.id}")
                self._tasks.add(task)
                task.add_done_callback(self._ended)
        if len(self._tasks) >= AT_ONCE:
            return None  # the next begins when one ends
        waiting = [each.due for each in self._sets.values() if not each.busy]
        return max(0.0, min(waiting) - now) if waiting else None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("a key set could not be fetched: a bug", exc_info=fault)

    async def _renew(self, each: Set) -> None:
        """One fetch, and when the next one is."""
        wanted, kept = each.wanted, each.kept
        each.asked = self._clock()
        each.due = each.asked + freshness.LONGEST_PAUSE  # should this be a bug's end
        try:
            answer = await self._fetcher.fetch(
                wanted, Before(address=kept.address, etag=kept.etag if kept.jwks else "")
            )
        except Unavailable as unavailable:
            each.failures += 1
            self.fetches["failed"] += 1
            each.due = self._clock() + freshness.pause(each.failures, self._chance())
            self._keep(each, Kept(jwks=kept.jwks, address=kept.address, etag=kept.etag, problem=str(unavailable)))
        else:
            each.failures = 0
            lifetime = freshness.lifetime(answer.headers, wanted.seconds)
            each.due = self._clock() + freshness.again(lifetime, self._chance())
            self._keep(each, self._taken(each, answer))
        finally:
            each.busy = False

    def _taken(self, each: Set, answer: Answer) -> Kept:
        jwks = answer.jwks or each.kept.jwks
        self.fetches["same" if jwks == each.kept.jwks else "new"] += 1
        if jwks != each.kept.jwks:
            log.info("%s: new keys", each.wanted.id)
            for why in answer.passed_over:
                log.warning("%s: %s", each.wanted.id, why)
        return Kept(jwks=jwks, address=answer.address, etag=answer.etag)

    def _keep(self, each: Set, kept: Kept) -> None:
        before, each.kept = each.kept, kept
        if kept.problem and kept.problem != before.problem:
            stands = "the last good keys stay" if kept.jwks else "there are no keys yet, so no token of it is taken"
            log.warning("%s: %s; %s", each.wanted.id, kept.problem, stands)
        if kept != before and self._sets.get(each.wanted.id) is each:
            self._changed()


def named(resources: Iterable[str]) -> list[str]:
    """The key sets among a snapshot's resources."""
    return [name.removeprefix("keys/") for name in resources if name.startswith("keys/")]


def fetched(kept: Mapping[str, Kept]) -> dict[str, Fetched]:
    """As compile reads it."""
    return {name: Fetched(jwks=each.jwks, problem=each.problem) for name, each in sorted(kept.items())}
