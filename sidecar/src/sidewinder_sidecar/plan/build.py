"""A snapshot made fast: resources to a Plan. Pure but for what it reads of the fleet; refuses whole or succeeds.

Called by `discovery` (and tests) as a generator that gives the loop back every few milliseconds. What did not change
since the previous plan is reused, so that one endpoint's change costs no compilation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sidewinder_sidecar.filters.context import Context
from sidewinder_sidecar.fleet import Wanted
from sidewinder_sidecar.plan.guards import Guard, make
from sidewinder_sidecar.plan.listeners import Listener
from sidewinder_sidecar.plan.refused import Refused
from sidewinder_sidecar.plan.routes import CompiledRoute, compile_route
from sidewinder_sidecar.plan.services import Service, Table
from sidewinder_sidecar.plan.upstreams import want
from sidewinder_sidecar.snapshot import KINDS, Resource, Snapshot, in_order
from sidewinder_sidecar.snapshot.authentication import CredentialsSpec, KeysSpec
from sidewinder_sidecar.snapshot.authorization import AddressesSpec
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.policies import PolicySpec
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.routes import RouteSpec
from sidewinder_sidecar.snapshot.services import ServiceSpec
from sidewinder_sidecar.snapshot.upstreams import BackendSpec, EndpointsSpec
from sidewinder_sidecar.upstream.backend import canonical

if TYPE_CHECKING:
    from sidewinder_sidecar.fleet import Fleet

SLICE = 0.002  # seconds of work at a time: with a long step on top far below the 10 ms that a request may wait
NAMELESS = ProxySpec(name="sidewinder", namespace="")

R = TypeVar(
    "R",
    ProxySpec,
    ListenerSpec,
    ServiceSpec,
    RouteSpec,
    BackendSpec,
    EndpointsSpec,
    PolicySpec,
    KeysSpec,
    CredentialsSpec,
    AddressesSpec,
)


class Plan:
    """Everything the hot path looks up. Immutable; an exchange keeps the one it began with."""

    __slots__ = (
        "__weakref__", "guards", "listeners", "policies", "proxy", "routes", "services", "tables", "trace_percent",
        "wanted",
    )  # fmt: skip

    def __init__(self) -> None:
        self.proxy = NAMELESS
        self.trace_percent = NAMELESS.trace_percent
        self.listeners: dict[str, Listener] = {}
        self.services: dict[str, Service] = {}
        self.policies: dict[str, PolicySpec] = {}
        self.guards: dict[tuple[str, int], Guard] = {}  # by policy and port
        self.routes: dict[str, CompiledRoute] = {}
        self.tables: dict[tuple[str, ...] | None, Table] = {}  # by a listener's list of services
        self.wanted: dict[str, Wanted] = {}  # for fleet.adopt

    def parts(self) -> tuple[dict[Any, Any], ...]:
        """What it is made of, to be let go of piece by piece, in this order, by who holds these when the plan is gone.
        A table holds all services, so it goes while they are still held here."""
        return self.tables, self.services, self.routes, self.wanted

    def __repr__(self) -> str:
        counts = f"{len(self.services)} services, {len(self.routes)} routes"
        return f"<Plan of {self.proxy.name}: {[*self.listeners]}, {counts}>"


async def prepare(snapshot: Snapshot, fleet: Fleet, previous: Plan | None = None) -> Plan:
    """Build, letting others run in between. Raises Refused. Only one at a time: the fleet must not change meanwhile."""
    steps = build(snapshot, fleet, previous)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            plan: Plan = done.value
            return plan
        await asyncio.sleep(0)


def build(
    snapshot: Snapshot,
    fleet: Fleet,
    previous: Plan | None = None,
    clock: Callable[[], float] = perf_counter,
    slice_seconds: float = SLICE,
) -> Generator[None, None, Plan]:
    """Yields whenever a slice of time is used up; returns the plan. Raises Refused."""
    plan = Plan()
    until = clock() + slice_seconds
    for _ in _steps(plan, snapshot, fleet, previous or Plan()):
        if clock() >= until:
            yield
            until = clock() + slice_seconds
    return plan


def _steps(plan: Plan, snapshot: Snapshot, fleet: Fleet, previous: Plan) -> Iterator[None]:
    """The recipe: from what stands alone to what refers to it. Yields after every small step."""
    by_kind: dict[str, dict[str, Resource]] = {kind: {} for kind in KINDS.values()}
    for resource in (yield from in_order(snapshot)):
        kind, _, name = resource.partition("/")
        by_kind[_checked(resource, kind, name, snapshot[resource])][name] = snapshot[resource]
        yield
    _proxy(plan, _of(by_kind, ProxySpec))
    yield from _upstreams(plan, _of(by_kind, BackendSpec), _of(by_kind, EndpointsSpec), fleet)
    yield from _routes(plan, _of(by_kind, RouteSpec), previous, fleet)
    plan.policies = _of(by_kind, PolicySpec)
    context = Context(
        fleet.means,
        fleet.wheel,
        _of(by_kind, KeysSpec),
        _of(by_kind, CredentialsSpec),
        _of(by_kind, AddressesSpec),
        plan.proxy.trust_domain,
    )
    if context.addresses:  # 1 µs for each of up to 100 000, so in steps, before guards ask for them
        from sidewinder_sidecar.filters import authorize

        yield from authorize.prepare(context)
    yield from _services(plan, _of(by_kind, ServiceSpec), previous, context)
    yield from _listeners(plan, _of(by_kind, ListenerSpec), previous, context)


def _checked(resource: str, kind: str, name: str, body: Resource) -> str:
    if KINDS.get(type(body)) != kind:
        raise Refused(resource, "", f"a {type(body).__name__} cannot be named {kind!r}")
    if kind != "proxy" and getattr(body, "name", name) != name:
        raise Refused(resource, "name", f"the body says {getattr(body, 'name', '')!r}")
    return kind


def _of(by_kind: dict[str, dict[str, Resource]], kind: type[R]) -> dict[str, R]:
    return cast("dict[str, R]", by_kind[KINDS[kind]])  # _checked has seen to it


def _proxy(plan: Plan, specs: Mapping[str, ProxySpec]) -> None:
    if list(specs) != ["self"]:
        raise Refused("proxy/self", "", f"there must be exactly this proxy, not {sorted(specs)}")
    plan.proxy = specs["self"]
    plan.trace_percent = plan.proxy.trace_percent
    if not 0 <= plan.trace_percent <= 100:
        raise Refused("proxy/self", "trace_percent", f"{plan.trace_percent} is not between 0 and 100")


def _upstreams(
    plan: Plan, backends: Mapping[str, BackendSpec], endpoints: Mapping[str, EndpointsSpec], fleet: Fleet
) -> Iterator[None]:
    for name, backend in backends.items():
        if (members := endpoints.get(backend.endpoints)) is None:
            raise Refused(f"backend/{name}", "endpoints", f"the snapshot has no endpoints/{backend.endpoints}")
        yield from want(name, (backend, members), fleet, plan.wanted, plan.proxy.zone)
        yield


def _routes(plan: Plan, specs: Mapping[str, RouteSpec], previous: Plan, fleet: Fleet) -> Iterator[None]:
    backends = {name: wanted.backend for name, wanted in plan.wanted.items()}
    yield
    for name, spec in specs.items():
        old = previous.routes.get(name)
        same = old is not None and old.holds(spec, backends)
        plan.routes[name] = old if old is not None and same else compile_route(spec, backends, fleet.means, fleet.wheel)
        yield


def _guard(plan: Plan, resource: str, policy: str, port: int, previous: Plan, context: Context) -> Guard | None:
    """What callers of a port must meet; services on one port with the same policy share it."""
    if not policy:
        return None
    if (guard := plan.guards.get((policy, port))) is None:
        if (spec := plan.policies.get(policy)) is None:
            raise Refused(resource, "policy", f"the snapshot has no policy/{policy}")
        plan.guards[policy, port] = guard = make(spec, port, context, previous.guards)
    return guard


def _services(plan: Plan, specs: Mapping[str, ServiceSpec], previous: Plan, context: Context) -> Iterator[None]:
    for name, spec in specs.items():
        resource = f"service/{name}"
        for number, route in enumerate(spec.routes):
            if route not in plan.routes:
                raise Refused(resource, f"routes[{number}]", f"the snapshot has no route/{route}")
        if spec.backend and spec.backend not in plan.wanted:
            raise Refused(resource, "backend", f"the snapshot has no backend/{spec.backend}")
        routes = tuple(plan.routes[route] for route in spec.routes)
        backend = plan.wanted[spec.backend].backend if spec.backend else None
        guard = _guard(plan, resource, spec.policy, spec.port, previous, context)
        old = previous.services.get(name)
        if old is not None and old.holds(spec, routes, backend, guard):
            plan.services[name] = old
        else:
            plan.services[name] = service = Service(spec, routes, backend, guard)
            yield from service.compile()
        yield


def _listeners(plan: Plan, specs: Mapping[str, ListenerSpec], previous: Plan, context: Context) -> Iterator[None]:
    for name, spec in specs.items():
        resource = f"listener/{name}"
        for number, service in enumerate(spec.services or ()):
            if service not in plan.services:
                raise Refused(resource, f"services[{number}]", f"the snapshot has no service/{service}")
        if spec.default_service and spec.default_service not in plan.services:
            raise Refused(resource, "default_service", f"the snapshot has no service/{spec.default_service}")
        if not 0 <= spec.port < 65536:
            raise Refused(resource, "port", f"{spec.port} is no port, 0 to 65535 are")
        if spec.services not in plan.tables:
            yield from _table(plan, spec.services, previous)
        default = plan.services[spec.default_service] if spec.default_service else None
        headless: dict[tuple[str, int], Service] = {}
        if spec.transparent and spec.direction == "Outbound":
            yield from _headless(plan, plan.tables[spec.services], headless)
        guard = _guard(plan, resource, spec.policy, 0, previous, context)
        plan.listeners[name] = Listener(spec, plan.tables[spec.services], default, headless, guard)
        yield


def _headless(plan: Plan, table: Table, into: dict[tuple[str, int], Service]) -> Iterator[None]:
    """Services that are called by the addresses of their endpoints. Those come and go without the service changing."""
    for service in table.services:
        if service.spec.headless and (wanted := plan.wanted.get(service.spec.backend)) is not None:
            for endpoint in wanted.sources[1].endpoints:
                into.setdefault((canonical(endpoint.address), endpoint.port), service)
                yield


def _table(plan: Plan, names: tuple[str, ...] | None, previous: Plan) -> Iterator[None]:
    services = tuple(plan.services.values() if names is None else (plan.services[name] for name in names))
    old = previous.tables.get(names)
    if old is not None and old.services == services:
        plan.tables[names] = old
        return
    plan.tables[names] = table = Table(services)
    yield from table.compile()
