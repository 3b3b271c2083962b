"""State that outlives a plan: backends with their endpoints, pools and budgets. Swapped plans stand on it.

`plan.build` only reads it and says what it wants. `change` brings what stays in line, in steps; `adopt` follows in one,
together with the plan's swap. What is gone retires, what stays is the same object with new weight, zone and readiness,
so that a count or a pool is never lost to a configuration change. Endpoints are known by (backend, pod uid or address,
address, port): a reused IP inherits nothing.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from sidewinder_sidecar.means import Means
from sidewinder_sidecar.snapshot.upstreams import BackendSpec, EndpointSpec, EndpointsSpec
from sidewinder_sidecar.upstream.backend import Backend, Key

if TYPE_CHECKING:
    from sidewinder_sidecar.upstream.balance.hashed import HashedBalancer
    from sidewinder_sidecar.upstream.endpoint import Endpoint
    from sidewinder_sidecar.wheel import Wheel

OUTSIDE = 1024  # hosts called at a time that no service owns, 3 MB: a scraper of metrics has hundreds
OUTSIDE_SECONDS = 60.0  # an outside host that nobody asked for this long is forgotten
RETIRED_AT_ONCE = (
    200  # backends and endpoints a turn: closing a connection costs 20 µs, the loop must not be held for long
)

Sources: TypeAlias = tuple[BackendSpec, EndpointsSpec]
MakeEndpoint: TypeAlias = Callable[[EndpointSpec, float], "Endpoint"]  # with the connect timeout


class Wanted:
    """What a plan needs of one backend. `endpoints` is None when it is in line already."""

    __slots__ = ("backend", "endpoints", "sources", "table", "updates", "zone")

    def __init__(
        self,
        backend: Backend,
        sources: Sources,
        endpoints: Mapping[Key, Endpoint] | None = None,
        updates: tuple[tuple[Endpoint, EndpointSpec], ...] = (),
        table: HashedBalancer | None = None,
        zone: str = "",
    ) -> None:
        self.backend = backend
        self.sources = sources
        self.endpoints = endpoints
        self.updates = updates
        self.table = table
        self.zone = zone


class Fleet:
    """`make` builds an endpoint; it must not connect before it is asked to open. `means` is for policies."""

    __slots__ = ("_gone", "_leaving", "_outside", "_ready", "backends", "make", "means", "wheel")

    def __init__(self, wheel: Wheel, make: MakeEndpoint) -> None:
        self.wheel = wheel
        self.make = make
        self.means = Means()
        self.backends: dict[str, Backend] = {}
        self._outside: OrderedDict[tuple[str, int], tuple[Backend, float]] = OrderedDict()  # least recently used first
        # what `change` has found out for `adopt`: the backends by name, and those that are gone
        self._ready: tuple[Mapping[str, Wanted], dict[str, Backend], list[Backend]] | None = None
        self._gone: deque[Backend] = deque()
        self._leaving: deque[Endpoint] = deque()

    def change(self, wanted: Mapping[str, Wanted]) -> Iterator[None]:
        """Bring backends that stay in line, one a step: where endpoints are is a fact, which needs no new plan. Once
        begun, `adopt` of the same follows."""
        for want in wanted.values():
            if want.endpoints is not None:
                self._change(want, want.endpoints)
            yield
        gone: list[Backend] = []
        for name, backend in self.backends.items():
            if name not in wanted:
                gone.append(backend)
            yield
        self._ready = (wanted, {name: want.backend for name, want in wanted.items()}, gone)

    def adopt(self, wanted: Mapping[str, Wanted]) -> None:
        """Be what a plan needs. Does not wait and does not fail."""
        if self._ready is None or self._ready[0] is not wanted:
            for _ in self.change(wanted):
                pass
        assert self._ready is not None
        _, self.backends, gone = self._ready
        self._ready = None
        self._gone.extend(gone)
        self._retire()

    def _change(self, want: Wanted, stays: Mapping[Key, Endpoint]) -> None:
        backend = want.backend
        self._leaving.extend([old for key, old in backend.endpoints.items() if stays.get(key) is not old])
        for endpoint, spec in want.updates:
            endpoint.update(spec)
        backend.zone = want.zone
        backend.serve(want.sources, stays, self.wheel.clock(), want.table)
        want.endpoints = None

    def dial(self, host: str, port: int) -> Backend | None:
        """A backend for a host that no service owns; None when too many are in use."""
        now = self.wheel.clock()
        if (known := self._outside.get((host, port))) is not None:
            backend = known[0]
            self._outside[host, port] = (backend, now)
            self._outside.move_to_end((host, port))
            return backend
        if len(self._outside) >= OUTSIDE and not self._forget(now, 1):
            return None
        name = f"{host}:{port}"
        spec = EndpointSpec(uid=host, address=host, port=port)
        sources = (
            BackendSpec(name=name, endpoints=name, service="outside"),
            EndpointsSpec(name=name, endpoints=(spec,)),
        )
        backend = Backend(name, sources, now)
        backend.serve(sources, {(host, host, port): self.make(spec, sources[0].connect_timeout)}, now)
        if not self._outside:
            self.wheel.at(now + OUTSIDE_SECONDS, self)
        self._outside[host, port] = (backend, now)
        return backend

    def on_time(self, now: float) -> None:
        """The wheel: go on retiring, forget the outside hosts that nobody uses."""
        self._retire()
        if self._outside:
            self._forget(now - OUTSIDE_SECONDS, OUTSIDE)
        if self._outside:
            self.wheel.at(now + OUTSIDE_SECONDS, self)

    def _retire(self) -> None:
        left = RETIRED_AT_ONCE
        while left > 0 and self._gone:
            gone = self._gone.popleft()
            self._leaving.extend(gone.endpoints.values())
            gone.serve(gone.sources, {}, self.wheel.clock())
            left -= 1
        while left > 0 and self._leaving:
            self._leaving.popleft().retire()
            left -= 1
        if self._gone or self._leaving:
            self.wheel.at(self.wheel.clock(), self)

    def _forget(self, before: float, most: int) -> int:
        """Outside hosts that rest since `before` or longer; returns how many went."""
        known = len(self._outside)
        idle = (
            key
            for key, (backend, used) in self._outside.items()
            if used <= before and not any(endpoint.active for endpoint in backend.endpoints.values())
        )
        for key in list(islice(idle, most)):
            backend, _ = self._outside.pop(key)
            for endpoint in backend.endpoints.values():
                endpoint.retire()
        return known - len(self._outside)

    def close(self) -> None:
        """The process ends: every idle connection goes."""
        backends = (*self._gone, *self.backends.values(), *(backend for backend, _ in self._outside.values()))
        for endpoint in (*self._leaving, *(one for backend in backends for one in backend.endpoints.values())):
            endpoint.retire()
        self._gone.clear()
        self._leaving.clear()

    def __repr__(self) -> str:
        endpoints = sum(len(backend.endpoints) for backend in self.backends.values())
        return f"<Fleet {len(self.backends)} backends, {endpoints} endpoints, {len(self._outside)} outside>"
