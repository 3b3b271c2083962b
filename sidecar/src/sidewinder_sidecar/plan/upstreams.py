"""Backends and endpoints of a snapshot against what the fleet has: what stays, what is new. Called by `plan/build`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sidewinder_sidecar.fleet import Sources, Wanted
from sidewinder_sidecar.plan.refused import Refused
from sidewinder_sidecar.snapshot.upstreams import BackendSpec, EndpointSpec, EndpointsSpec
from sidewinder_sidecar.upstream.backend import Backend, Key

if TYPE_CHECKING:
    from sidewinder_sidecar.fleet import Fleet
    from sidewinder_sidecar.upstream.endpoint import Endpoint


def want(name: str, sources: Sources, fleet: Fleet, into: dict[str, Wanted]) -> Iterator[None]:
    """Say in `into[name]` what backend `name` needs. Yields between steps. Raises Refused."""
    backend = fleet.backends.get(name)
    if backend is not None and backend.sources == sources:
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
        yield
    if name in fleet.backends:
        into[name] = Wanted(backend, sources, endpoints, tuple(updates))
    else:  # nobody uses it yet: done here, in a slice, instead of in `adopt`, which must be short
        backend.serve(sources, endpoints, now)
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
        ("budget.percent", budget.percent, 0),
        ("budget.interval", budget.interval, 0.001),
        ("budget.min_count", budget.min_count, 0),
        ("budget.min_interval", budget.min_interval, 0.001),
    ):
        if not value >= lowest:
            raise Refused(f"backend/{name}", field, f"{value} is too small, {lowest} is the least")


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
