"""How a sidecar leaves. Told by discovery and by signals, asked by `pages`; made by main's recipe.

1. The operator says that the pod is being deleted (`ProxySpec.terminating`): the drain begins. Everything is accepted
   on, every answer says `Connection: close`, and the proxy is not ready. A pod that is also told that it is a Service's
   last resort (`ProxySpec.last_resort`: nobody else is ready) serves on as if it stayed: ready, with connections kept.
2. Meanwhile `GET /drain` holds back the end of the application: the kubelet asks there before it ends a container. It
   is answered once the operator says that nobody sends anything new (`retired`), at once where nobody ever knew of
   this pod, after QUIET_SECONDS without a request where it is a last resort (`idle`), and at the latest after
   `retire_seconds`. A last resort that ends for one of the latter says so (`Resigned`), waits a moment to be retired,
   and refuses callers from then on: their requests would be broken off. It is answered only once the requests that the
   application answers just now have ended, `drain_seconds` after the question at the latest: most applications drop
   them when they are told to end. WebSockets and tunnels, which may last for ever, get half of that; relayed
   connections, which rest in pools, nothing. Asking changes nothing else: a stranger may do it.
3. SIGTERM, which comes when every application container has ended: accept no more, finish what runs, and end; what does
   not end within `drain_seconds` is ended.
4. The last word to the operator (`report`): how long it took, and what it waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Literal, TypeAlias

from sidewinder_sidecar.exchange import Proxy
from sidewinder_sidecar.main.listeners import Listeners
from sidewinder_sidecar.messages import Call
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot import Resource, stream
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.upstreams import EndpointsSpec

log = logging.getLogger("sidewinder.drain")

MOST_WAITING = 32  # who ask at a time when they may end; a pod has fewer containers
LOOK_SECONDS = 0.02  # how often a drain looks whether it is over
HUSH_SECONDS = 2.0  # in which nobody comes who is not of the mesh: then those who are asked know better, too
STRANGERS_SECONDS = 10.0  # that they are waited for; some ask for ever
RECENT_SECONDS = 60.0  # after which who came is no caller any more
# After which a last resort that nobody calls may end: about what another pod takes to come, and whoever ends a Service
# on purpose waits no longer. Its requests count from the moment on at which it became one.
QUIET_SECONDS = 5.0
RESIGNED_SECONDS = 2.0  # that one which ends all the same waits until nobody is told of it any more
ANSWERING_SECONDS = 0.1  # how often who holds an application back looks whether it still answers somebody

# Why whoever waited may end: everybody who knew the pod knows better, nobody ever knew it, nobody calls the last one
# left, or waiting has an end.
Outcome: TypeAlias = Literal["retired", "unknown", "idle", "late", "leaving"]


class Crowded(Exception):
    """Too many are waiting already."""


class Drain:
    """One per process. `pod`: the pod's uid, by which endpoints name it; "" where there is none. `served`: how many
    requests that came to these listeners have ended."""

    def __init__(
        self,
        proxy: Proxy,
        listeners: Listeners,
        limits: Limits,
        pod: str,
        served: Callable[[Collection[str]], int] = lambda listeners: 0,
    ) -> None:
        self._proxy = proxy
        self._listeners = listeners
        self._limits = limits
        self._pod = pod
        self._served = served
        self._over = asyncio.Event()  # nobody sends anything new any more
        self._told = False  # to stop: nobody needs to be held back any more
        self._resources: Mapping[str, Resource] = {}
        self.followed = False  # somebody tells the configuration, and so may tell that it has retired
        self.known = False  # to others, as an endpoint: now or some time ago
        self.waiting = 0
        self._insists = False  # on being left, whatever the operator says
        self._kept = False  # as a last resort
        self._resignation: asyncio.Task[Outcome] | None = None  # from being one
        self.resign: Callable[[stream.Resigned], Awaitable[None]] | None = None  # how the operator is told
        self._calls = (0, 0)  # when they were last looked at
        self._called = 0.0  # when they were last others
        # what metrics ask for
        self._began: float | None = None
        self._ended: float | None = None
        self.retired_seconds = 0.0
        self.requests = self.upgraded = self.relayed = self.connections = 0  # that ran when it was told to stop
        self.cut = self.left = 0  # requests and connections that did not end in time
        self._stopping = 0.0  # seconds from there to the end

    # ── the pod is being deleted ──────────────────────────────────────────────────────────────────────────────────

    def follow(self, resources: Mapping[str, Resource]) -> None:
        """The configuration in force, of an operator."""
        self.followed = True
        self.known = self.known or not self._pod or self._is_named(resources)
        self._resources = resources
        own = resources.get("proxy/self")
        if isinstance(own, ProxySpec) and own.terminating:
            self._start("the pod is being deleted")
            self._keep(own.last_resort)

    def _is_named(self, resources: Mapping[str, Resource]) -> bool:
        """Whether endpoints name this pod; but for those by which its own proxy finds its own application."""
        before, own = self._resources, _own(resources)
        return any(
            endpoint.uid == self._pod
            for name, body in resources.items()
            if isinstance(body, EndpointsSpec) and before.get(name) is not body and body.name not in own
            for endpoint in body.endpoints
        )

    def begin(self, why: str) -> None:
        """From here on: accept, say `Connection: close`, be not ready."""
        self._insists = self._proxy.draining = True
        self._start(why)

    def _start(self, why: str) -> None:
        if self._began is None:
            self._began = time.monotonic()
            log.info("draining: %s; %d requests run", why, len(self._proxy.running))

    def _keep(self, kept: bool) -> None:
        """Be a last resort, or not any more."""
        kept = kept and not (self._insists or self._over.is_set())
        if kept and not self._kept:
            self._called = time.monotonic()
            log.info("a last resort: nobody else is ready, and requests come on")
        self._kept = kept
        self._proxy.draining = not kept

    def _is_idle(self) -> bool:
        """Whether it is a last resort that nobody calls. Asked often: it knows only what it has seen."""
        names, now = self._listeners.inbound(), time.monotonic()
        calls = self._served(names), sum(row.connections for row in self._proxy.callers.rows.values())
        if calls != self._calls or self._answering()[0]:
            self._calls, self._called = calls, now
        return self._kept and now - self._called >= QUIET_SECONDS

    async def _give_up(self, why: Outcome) -> Outcome:
        """A last resort ends all the same, once for all who ask."""
        if self._resignation is None:
            if not self._kept:
                return why
            self._kept, self._insists = False, True
            self._proxy.draining = True
            self._resignation = asyncio.create_task(self._resign(why))
        return await asyncio.shield(self._resignation)

    async def _resign(self, why: Outcome) -> Outcome:
        """Callers go elsewhere; those who do not in time are refused, since their requests would be broken off."""
        if self.resign is not None:
            await self.resign(stream.Resigned(self.seconds))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), RESIGNED_SECONDS)
        self._listeners.refuse()
        return why

    def on_retired(self) -> None:
        """The operator: nobody sends anything new to this pod."""
        if self._began is not None and not self._over.is_set():
            self.retired_seconds = self.seconds
            self._over.set()
            log.info("retired %.3f s after the drain began: nobody sends anything new", self.retired_seconds)

    @property
    def seconds(self) -> float:
        """Since the drain began, or what it took; 0 before."""
        if self._began is None:
            return 0.0
        return (time.monotonic() if self._ended is None else self._ended) - self._began

    async def may_end(self) -> Outcome:
        """Wait until an application may end. Raises Crowded."""
        if not (self._over.is_set() or (self.followed and (self.known or self._began is not None))):
            return "unknown"
        if self.waiting >= MOST_WAITING:
            raise Crowded
        self.waiting += 1
        try:
            asked = time.monotonic()
            outcome = await self._retirement()
            if outcome == "retired":
                await self._hush(asked)
            await self._answered(asked)
            return outcome
        finally:
            self.waiting -= 1

    async def _retirement(self) -> Outcome:
        """Nobody sends anything new."""
        end = time.monotonic() + self._limits.retire_seconds
        while not self._over.is_set():
            if self._resignation is not None:
                return await self._give_up("late")
            left = end - time.monotonic()
            if self._is_idle():
                log.info("a last resort that nobody has called for %g s: it may end", QUIET_SECONDS)
                return await self._give_up("idle")
            if left <= 0:
                limit = self._limits.retire_seconds
                log.warning("not retired within %g s: somebody may still send requests here", limit)
                early = self.seconds < limit / 2  # a stranger asked, before anybody left
                return "late" if early else await self._give_up("late")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), min(left, ANSWERING_SECONDS))
        return "retired" if self.retired_seconds else "leaving"

    async def _hush(self, asked: float) -> None:
        """Nor does anybody of whom no operator hears: ingresses, nodes and their like learn it a little later. Where
        some have come of late, it takes a while in which none does."""
        clock, callers = self._proxy.clock, self._proxy.callers
        last, now = callers.stranger(), clock()
        if not last or now - last > RECENT_SECONDS:
            return
        end = min(now + STRANGERS_SECONDS, now + self._limits.retire_seconds - (time.monotonic() - asked))
        while not self._told and now < end and (self.seconds < HUSH_SECONDS or now - callers.stranger() < HUSH_SECONDS):
            await asyncio.sleep(ANSWERING_SECONDS)
            now = clock()
        log.info("waited for callers that are not of the mesh until %.1f s after the drain began", self.seconds)

    async def _answered(self, asked: float) -> None:
        """The application answers nobody any more, or may do so no longer. Whoever does not leave may end any time."""
        limit = self._limits.drain_seconds
        while self._began is not None and not self._told:
            gone = time.monotonic() - asked
            requests, upgraded = self._answering()
            if not (requests and gone < limit) and not (upgraded and gone < limit / 2):
                if requests or upgraded:
                    log.warning(
                        "%d requests and %d upgraded connections still run, %.1f s after the application was to end",
                        requests, upgraded, gone,
                    )  # fmt: skip
                return
            await asyncio.sleep(ANSWERING_SECONDS)

    def _answering(self) -> tuple[int, int]:
        """What came in for the application and runs: requests; WebSockets and tunnels."""
        listeners = self._proxy.plan.listeners
        running = [
            bool(one.request.upgrade)
            for one in self._proxy.running
            if isinstance(one, Call) and ((listener := listeners.get(one.listener)) is None or listener.inbound)
        ]
        return running.count(False), running.count(True)

    # ── the process ends ──────────────────────────────────────────────────────────────────────────────────────────

    async def finish(self, hurry: asyncio.Event) -> None:
        """Accept no more, finish what runs; what does not end in time, or before `hurry`, is ended."""
        proxy, limit = self._proxy, self._limits.drain_seconds
        self._count()
        self._told = True
        self.begin("told to stop")
        began = time.monotonic()
        self._over.set()
        log.info("stopping: %d requests on %d connections, %g s at most", self.requests, self.connections, limit)
        self._listeners.drain()
        while not (self._is_empty() or time.monotonic() - began >= limit or hurry.is_set()):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(hurry.wait(), LOOK_SECONDS)
        running = tuple(proxy.running)
        self.cut = len(running)
        for exchange in running:
            exchange.abort("draining", f"it had not ended {limit:g} s after the proxy was told to stop")
        await asyncio.sleep(0)  # what the aborts have written is on its way
        self.left = self._listeners.connections
        self._listeners.close()
        proxy.fleet.close()
        await asyncio.sleep(0)
        self._ended = time.monotonic()
        self._stopping = self._ended - began
        log.info(
            "drained in %.3f s: waited for %d requests%s on %d connections; %d requests and %d connections were cut",
            self._stopping, self.requests, self._kinds(), self.connections, self.cut, self.left,
        )  # fmt: skip

    def _count(self) -> None:
        running = self._proxy.running
        self.requests, self.connections = len(running), self._listeners.connections
        self.upgraded = sum(isinstance(one, Call) and bool(one.request.upgrade) for one in running)
        self.relayed = sum(not isinstance(one, Call) for one in running)

    def _kinds(self) -> str:
        told = [f"{count} {kind}" for count, kind in ((self.upgraded, "upgraded"), (self.relayed, "relayed")) if count]
        return f" ({', '.join(told)})" if told else ""

    def report(self) -> stream.Drained:
        """Once it is over: how it went."""
        return stream.Drained(
            drained=self._stopping,
            leaving=self.seconds,
            retired=self.retired_seconds,
            requests=self.requests,
            upgraded=self.upgraded,
            relayed=self.relayed,
            connections=self.connections,
            cut_requests=self.cut,
            cut_connections=self.left,
        )

    def _is_empty(self) -> bool:
        return not self._proxy.running and not self._listeners.connections


def _own(resources: Mapping[str, Resource]) -> set[str]:
    """The endpoints that inbound listeners lead to."""
    listeners = [body for body in resources.values() if isinstance(body, ListenerSpec) and body.direction == "Inbound"]
    services = {name for one in listeners for name in (*(one.services or ()), one.default_service)}
    backends = {getattr(resources.get(f"service/{name}"), "backend", "") for name in services}
    return {getattr(resources.get(f"backend/{name}"), "endpoints", "") for name in backends}
