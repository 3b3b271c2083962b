"""Backends and endpoints of a snapshot against what the fleet has: what stays, what is new. Called by `plan/build`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sidewinder_sidecar.fleet import Sources, Wanted
from sidewinder_sidecar.plan.refused import Refused
from sidewinder_sidecar.snapshot.upstreams import (
    BackendSpec,
    Balancing,
    BreakerSpec,
    ConcurrencySpec,
    EndpointSpec,
    EndpointsSpec,
    Maglev,
    PeakEWMA,
    RingHash,
)
from sidewinder_sidecar.upstream.backend import Backend, Key, within
from sidewinder_sidecar.upstream.balance import prepare
from sidewinder_sidecar.upstream.balance.maglev import is_prime

if TYPE_CHECKING:
    from sidewinder_sidecar.fleet import Fleet
    from sidewinder_sidecar.upstream.endpoint import Endpoint

LEAST_FACTOR = 110  # percent: the nearer to 100, the longer the search for who has room


def want(name: str, sources: Sources, fleet: Fleet, into: dict[str, Wanted], zone: str = "") -> Iterator[None]:
    """Say in `into[name]` what backend `name` needs of a proxy in `zone`. Yields between steps. Raises Refused."""
    backend = fleet.backends.get(name)
    near = backend is not None and (backend.zone == zone or sources[0].locality is None)
    if backend is not None and near and backend.sources == sources:
        into[name] = Wanted(backend, sources)
        return
    check(name, sources[0])
    now = fleet.wheel.clock()
    if backend is None:
        backend = Backend(name, sources, now)
    # A new connect timeout makes new endpoints: it belongs to how connections are made, like the address does.
    same = backend.sources[0].connect_timeout == sources[0].connect_timeout
    known = {key_of(spec): spec for spec in backend.sources[1].endpoints} if same else {}
    endpoints: dict[Key, Endpoint] = {}
    updates: list[tuple[Endpoint, EndpointSpec]] = []
    # Whom a hash knows, as the specs say it: endpoints themselves hear of it only when they are adopted.
    members: list[Endpoint] = []
    weights: list[int] = []
    for number, spec in enumerate(sources[1].endpoints):
        key = key_of(spec)
        if key in endpoints:
            raise Refused(f"endpoints/{sources[1].name}", f"endpoints[{number}]", f"{spec.address} is listed twice")
        check_endpoint(sources[1], number)
        endpoint = backend.endpoints.get(key) if same and _speaks_alike(known.get(key), spec) else None
        if endpoint is None:
            endpoint = fleet.make(spec, sources[0].connect_timeout)
        elif known.get(key) != spec:
            updates.append((endpoint, spec))
        endpoints[key] = endpoint
        if spec.weight > 0 and within(sources[0], spec.labels):
            members.append(endpoint)
            weights.append(spec.weight)
        yield
    table = yield from prepare(sources[0].balancing, members, weights, backend.table)
    if name in fleet.backends:
        into[name] = Wanted(backend, sources, endpoints, tuple(updates), table, zone)
    else:  # nobody uses it yet: done here, in a slice, instead of in `adopt`, which must be short
        backend.zone = zone
        backend.serve(sources, endpoints, now, table)
        into[name] = Wanted(backend, sources)


def key_of(spec: EndpointSpec) -> Key:
    """What makes an endpoint the same one as before."""
    return spec.uid, spec.address, spec.port


def _speaks_alike(known: EndpointSpec | None, spec: EndpointSpec) -> bool:
    """Whether connections stay what they are: another identity is another endpoint, for whom they were not made."""
    return known is None or (
        known.identity == spec.identity and known.server_name == spec.server_name and known.trust == spec.trust
    )


def check(name: str, spec: BackendSpec) -> None:
    """The numbers that would make no sense at run time."""
    budget = spec.budget
    for field, value, lowest in (
        ("connect_timeout", spec.connect_timeout, 0.001),
        ("slow_start", spec.slow_start, 0),
        *_least(spec.balancing),
        *_least_open(spec.breaker),
        *_least_limits(spec.concurrency),
        ("budget.percent", budget.percent, 0),
        ("budget.interval", budget.interval, 0.001),
        ("budget.min_count", budget.min_count, 0),
        ("budget.min_interval", budget.min_interval, 0.001),
    ):
        if not value >= lowest:
            raise Refused(f"backend/{name}", field, f"{value} is too small, {lowest} is the least")
    if isinstance(spec.balancing, Maglev) and not is_prime(size := spec.balancing.table_size):
        raise Refused(f"backend/{name}", "balancing.table_size", f"{size} is no prime number, 65537 is")


def _least(spec: Balancing) -> tuple[tuple[str, float, float], ...]:
    """The same of an algorithm."""
    match spec:
        case PeakEWMA():
            return ("balancing.decay", spec.decay, 0.001), ("balancing.start", spec.start, 0)
        case RingHash():
            bound = spec.balance_factor or LEAST_FACTOR
            return (
                ("balancing.min_size", spec.min_size, 1),
                ("balancing.max_size", spec.max_size, spec.min_size),
                ("balancing.balance_factor", bound, LEAST_FACTOR),
            )
        case Maglev():
            bound = spec.balance_factor or LEAST_FACTOR
            return ("balancing.table_size", spec.table_size, 3), ("balancing.balance_factor", bound, LEAST_FACTOR)
        case _:
            return ()


def _least_open(spec: BreakerSpec | None) -> tuple[tuple[str, float, float], ...]:
    """The same of breakers. What they stand on is imported now, or the first failure would have to wait for it."""
    if spec is None:
        return ()
    import sidewinder_sidecar.resilience.circuit  # noqa: F401

    rate = spec.rate
    return (
        ("breaker.consecutive", spec.consecutive, 0 if rate is not None else 1),
        ("breaker.rate.percent", rate.percent if rate is not None else 1, 1),
        ("breaker.rate.interval", rate.interval if rate is not None else 1.0, 0.01),
        ("breaker.rate.min_requests", rate.min_requests if rate is not None else 1, 1),
        ("breaker.open_seconds", spec.open_seconds, 0.001),
        ("breaker.max_open_seconds", spec.max_open_seconds, spec.open_seconds),
        ("breaker.max_ejected_percent", spec.max_ejected_percent, 0),
        ("breaker.min_healthy_percent", spec.min_healthy_percent, 0),
    )


def _least_limits(spec: ConcurrencySpec | None) -> tuple[tuple[str, float, float], ...]:
    """The same of limits."""
    if spec is None:
        return ()
    return tuple(
        (f"concurrency.{part}.{name}", getattr(limits, name), 0)
        for part, limits in (("whole", spec.whole), ("endpoint", spec.endpoint))
        for name in ("requests", "pending", "connections")
    )


def check_endpoint(spec: EndpointsSpec, number: int) -> None:
    """An address to connect to and a share that can be drawn."""
    endpoint = spec.endpoints[number]
    field = f"endpoints[{number}]"
    if not endpoint.address:
        raise Refused(f"endpoints/{spec.name}", f"{field}.address", "an address is missing")
    if not 0 < endpoint.port < 65536:
        raise Refused(f"endpoints/{spec.name}", f"{field}.port", f"{endpoint.port} is no port, 1 to 65535 are")
    if endpoint.weight < 0:
        raise Refused(f"endpoints/{spec.name}", f"{field}.weight", f"{endpoint.weight} is negative, 0 is the least")
