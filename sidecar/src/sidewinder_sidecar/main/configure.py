"""A configuration put to work: built beside the running one, listeners opened, then swapped in one step.

`Configuration.apply` is what discovery calls; a kept or a fixed configuration goes the same way. Only one is applied at
a time. Raises Refusal for what cannot serve; then everything is as it was.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import msgspec

from sidewinder_sidecar import snapshot
from sidewinder_sidecar.discovery.transaction import Held, Refusal, decode
from sidewinder_sidecar.exchange import Proxy
from sidewinder_sidecar.main.listeners import Listeners
from sidewinder_sidecar.plan import Plan, Refused, prepare
from sidewinder_sidecar.snapshot import Resource

log = logging.getLogger("sidewinder")

Part: TypeAlias = dict[Any, Any] | list[Any]  # of what is let go

MANY = 1000  # resources: with fewer, nothing of this takes a millisecond
SLICE = 0.002  # seconds of freeing before others have their turn
IN_USE_SECONDS = 0.25  # how often it is looked whether a replaced plan is still used


class Configuration:
    """What serves, and how the next one gets there."""

    def __init__(self, proxy: Proxy, listeners: Listeners) -> None:
        self._proxy = proxy
        self._listeners = listeners
        self._turn = asyncio.Lock()
        self.resources: dict[str, Resource] = {}
        self.state = ""
        self.applied = 0
        self._parting: set[asyncio.Task[None]] = set()
        self._older: set[weakref.ref[Plan]] = set()  # replaced, and still used by exchanges that run
        self.on_settled: Callable[[], None] = lambda: None  # the last of them is gone

    def is_settled(self) -> bool:
        """Nothing that runs uses an older plan than the one in force."""
        return not self._older

    async def apply(self, resources: dict[str, Resource]) -> None:
        """Serve this from now on. Raises Refusal."""
        async with self._turn:
            proxy = self._proxy
            await ready_to_verify(resources)
            try:
                with undisturbed(len(resources)):
                    plan = await prepare(resources, proxy.fleet, proxy.plan)
            except Refused as fault:
                raise Refusal(fault.resource, fault.field, fault.why) from None
            following = await self._listeners.prepare(one.spec for one in plan.listeners.values())
            await in_turns(proxy.fleet.change(plan.wanted))
            self._part_with(proxy.plan)
            await asyncio.sleep(0)  # the swap takes 2 ms
            self._older.add(weakref.ref(proxy.plan, self._on_freed))
            proxy.adopt(plan)
            self._listeners.follow(following)
            self.resources = resources
            self.applied += 1
        if self.applied == 1:
            settle()
        log.info("serving %r", proxy.plan)

    def _on_freed(self, plan: weakref.ref[Plan]) -> None:
        self._older.discard(plan)
        if not self._older:
            self.on_settled()

    def _part_with(self, plan: Plan) -> None:
        """Free what is replaced in slices: 10 000 routes at once would hold the loop for 50 ms."""
        if len(self.resources) < MANY:
            return
        parts: tuple[Part, ...] = (*plan.parts(), list(self.resources.values()), list(self.resources))
        task = asyncio.get_running_loop().create_task(_free(weakref.ref(plan), parts), name="free-plan")
        self._parting.add(task)
        task.add_done_callback(self._parting.discard)


async def ready_to_verify(resources: Iterable[str]) -> None:
    """What verifies tokens takes 100 ms to load: in a thread, before the first policy needs it, so that requests go
    on meanwhile."""
    if "jwt.algorithms" not in sys.modules and any(name.startswith("keys/") for name in resources):
        await asyncio.to_thread(importlib.import_module, "jwt.algorithms")


async def _free(plan: weakref.ref[Plan], parts: Iterable[Part]) -> None:
    """Once no exchange uses the plan any more, let go of its parts, a slice of time at a turn."""
    while plan() is not None:  # noqa: ASYNC110 (who drops the last reference rings no bell)
        await asyncio.sleep(IN_USE_SECONDS)
    await in_turns(_empty(parts))


def _empty(parts: Iterable[Part]) -> Iterator[None]:
    for part in parts:
        take: Callable[[], object] = part.popitem if isinstance(part, dict) else part.pop
        while part:
            take()
            yield


async def in_turns(steps: Iterator[None]) -> None:
    """Go through all steps, a slice of time at a turn."""
    until = time.monotonic() + SLICE
    for _ in steps:
        if time.monotonic() >= until:
            await asyncio.sleep(0)
            until = time.monotonic() + SLICE


@contextmanager
def undisturbed(size: int) -> Iterator[None]:
    """Build without the collector, which would look at all that is new again and again, 10 ms a time; what was built
    stays until the next one is, so it need not look at it later either. Plans hold no cycles.
    """
    if size < MANY:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def settle() -> None:
    """What exists now stays for the process's life: the collector need not look at it again."""
    gc.collect()
    gc.freeze()


def load(path: str) -> Held:
    """A fixed configuration from a file of `{resource name: body}`. Raises Refusal."""
    try:
        with open(path, "rb") as file:
            bodies = msgspec.json.decode(file.read(), type=dict[str, msgspec.Raw])
    except OSError as fault:
        raise Refusal("", "", f"{path}: {fault.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Refusal("", "", f"{path}: no JSON object of resources: {fault}") from None
    resources = {name: decode(name, bytes(raw)) for name, raw in bodies.items()}
    return Held(resources, {name: snapshot.version(snapshot.encode(body)) for name, body in resources.items()})
