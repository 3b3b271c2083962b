"""The Secrets and ConfigMaps that policies name, each followed by its name and no other. Called by `collect`.

A replica must read few Secrets, so it neither lists nor watches them all: one watch for each object that a policy
names, in the namespace of that policy, for as long as one does. What is not known yet is told from what is not there:
until it is settled, nobody may act on its absence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import TypeAlias

from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.compile.needs import Need
from sidewinder_operator.resources.core import ConfigMap, Secret
from sidewinder_operator.watch.clock import Clock
from sidewinder_operator.watch.records import Written, written
from sidewinder_operator.watch.reflector import Reflector

# After that it is as good as absent: without the right to read it, it would never be known.
PATIENCE_SECONDS = 5.0
Start: TypeAlias = Callable[[str, Callable[[], Awaitable[None]]], "asyncio.Task[None]"]

_PLURALS = {Secret.KIND: "secrets", ConfigMap.KIND: "configmaps"}
_KEEP = {Secret.KIND: written(Secret), ConfigMap.KIND: written(ConfigMap)}


class _Followed:
    """One object's reflector, its task, and until when it may be unknown."""

    __slots__ = ("reflector", "task", "until")

    def __init__(self, reflector: Reflector[Written], task: asyncio.Task[None], until: float) -> None:
        self.reflector = reflector
        self.task = task
        self.until = until


class Named:
    """`start` runs a task until it is cancelled; `changed` is called for each change, and when patience ends."""

    def __init__(
        self,
        api: ApiServer,
        changed: Callable[[], None],
        start: Start,
        *,
        clock: Clock | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._api = api
        self._changed = changed
        self._start = start
        self._clock = clock
        self._patience = patience
        self._followed: dict[Need, _Followed] = {}

    def follow(self, wanted: Collection[Need]) -> None:
        """Exactly these from now on. In a running loop."""
        for need in self._followed.keys() - wanted:
            self._followed.pop(need).task.cancel()
        loop = asyncio.get_running_loop()
        for need in sorted(wanted - self._followed.keys()):
            path = f"/api/v1/namespaces/{need.namespace}/{_PLURALS[need.kind]}"
            reflector = Reflector(
                self._api, path, _KEEP[need.kind], self._changed, fields=f"metadata.name={need.name}", clock=self._clock
            )
            task = self._start(f"reflector {need.kind}", reflector.run)
            self._followed[need] = _Followed(reflector, task, loop.time() + self._patience)
            loop.call_later(self._patience, self._changed)

    def unsettled(self) -> frozenset[Need]:
        """What may be there and is not known yet."""
        now = asyncio.get_running_loop().time()
        return frozenset(
            need for need, one in self._followed.items() if not one.reflector.synced.is_set() and now < one.until
        )

    def unreadable(self) -> frozenset[Need]:
        """What was never known, however long it took: most likely the right to read it is missing."""
        now = asyncio.get_running_loop().time()
        return frozenset(
            need for need, one in self._followed.items() if not one.reflector.synced.is_set() and now >= one.until
        )

    def records(self) -> Iterator[Written]:
        """What is there, of what was wanted."""
        for _, one in sorted(self._followed.items()):
            yield from one.reflector.records.values()

    async def settled(self) -> None:
        """Waits until there is nothing unsettled."""
        for one in list(self._followed.values()):
            left = one.until - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(one.reflector.synced.wait(), max(left, 0))
            except TimeoutError:
                pass

    def __repr__(self) -> str:
        return f"<Named {len(self._followed)} followed, {len(self.unsettled())} unsettled>"
