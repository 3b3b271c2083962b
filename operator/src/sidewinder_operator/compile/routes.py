"""Routes as meant: parents found, backends resolved, times in seconds.

Called by `compiler`; `conflicts` then says who lost. A missing parent or backend costs that parent or that backend's
share, never the route.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sidewinder_operator.compile import size_limits
from sidewinder_operator.compile.filters import ANSWERS, Resolve, filters
from sidewinder_operator.compile.matches import match
from sidewinder_operator.compile.sections import Attachments, Row, route_chain
from sidewinder_operator.compile.seniority import origin, seniority
from sidewinder_operator.compile.services import Variant, backend
from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.mesh.routes import MeshDestination, MeshRoute, MeshRule
from sidewinder_operator.mesh.services import MeshBackend, MeshPort, MeshService
from sidewinder_operator.problems import Problem, Reference
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.mirror import MirrorRef, RequestMirror
from sidewinder_operator.resources.quantity import seconds
from sidewinder_operator.resources.route import ApiRoute, BackendRef, ParentRef, Retry, RouteRule, Stickiness
from sidewinder_sidecar.snapshot.routes import CookieStickiness, HeaderStickiness, RetrySpec
from sidewinder_sidecar.snapshot.routes import Stickiness as StickinessSpec

# Which routes hold at one port, oldest first: "" is the producers', a namespace its consumers'.
Audiences = dict[str, list[str]]


class Routing(NamedTuple):
    """What routes are made from, and what they add to: everything that is found on the way goes into the last three."""

    cluster: Cluster
    services: Mapping[str, MeshService]
    ports: Mapping[str, MeshPort]
    attachments: Attachments
    rows: tuple[Row, ...]
    stale: frozenset[Reference]
    placed: dict[str, Audiences]  # by port's name
    backends: dict[str, MeshBackend]  # the variants
    problems: list[Problem]


def routing(
    cluster: Cluster,
    services: Mapping[str, MeshService],
    attachments: Attachments,
    rows: tuple[Row, ...],
    stale: frozenset[Reference],
    problems: list[Problem],
) -> Routing:
    """A Routing with nothing in it yet."""
    ports = {port.name: port for service in services.values() for port in service.ports}
    clients = tuple(row for row in rows if row.client)
    placed: dict[str, Audiences] = defaultdict(lambda: defaultdict(list))
    return Routing(cluster, services, ports, attachments, clients, stale, placed, {}, problems)


def routes(world: Routing) -> dict[str, MeshRoute]:
    """All routes that capture something, oldest first, by "<namespace>/<name>"."""
    found: dict[str, MeshRoute] = {}
    for route in sorted(world.cluster.routes.values(), key=seniority):
        name = "/".join(route.key)
        ports = dict.fromkeys(port.name for port in _captured(world, route))
        for port in ports:
            owner = port.partition("/")[0]
            world.placed[port]["" if owner == route.namespace else route.namespace].append(name)
        meant = _route(world, route, name)
        if ports:
            found[name] = meant
    return found


def _captured(world: Routing, route: ApiRoute) -> Iterator[MeshPort]:
    for index, ref in enumerate(route.spec.parent_refs):
        key = f"{ref.namespace or route.namespace}/{ref.name}"
        service = world.services.get(key)
        ports = [port for port in service.ports if _means(ref, port)] if service is not None else []
        if not ports:
            why = f"there is no Service {key}" if service is None else f"Service {key} has {_ports(service)}"
            field = "name" if service is None else "port" if ref.port else "sectionName"
            _tell(world, route, f"spec.parentRefs[{index}].{field}", "NoMatchingParent", why)
        for port in ports:
            if port.protocol == "TCP":
                why = f"{port.name} is TCP by its appProtocol: no request is read there, so this route never matches"
                _tell(world, route, f"spec.parentRefs[{index}]", "UnsupportedProtocol", why, "Warning")
        yield from ports


def _means(ref: ParentRef, port: MeshPort) -> bool:
    return ref.port in (None, port.port) and ref.section_name in (None, "", port.label)


def _ports(service: MeshService) -> str:
    known = ", ".join(f"{port.port}" + (f" ({port.label})" if port.label else "") for port in service.ports)
    return f"only the ports {known}" if known else "no TCP port"


def _route(world: Routing, route: ApiRoute, name: str) -> MeshRoute:
    source = origin(route, route.reference in world.stale)
    return MeshRoute(
        name=name,
        namespace=route.namespace,
        hostnames=route.spec.hostnames,
        rules=tuple(_rule(world, route, source, index, rule) for index, rule in enumerate(route.spec.rules)),
        origin=source,
    )


def _rule(world: Routing, route: ApiRoute, source: Origin, index: int, rule: RouteRule) -> MeshRule:
    where = f"spec.rules[{index}]"
    variant = _variant(world, route, source, rule)
    sizes = size_limits.on_rule(world.attachments, route.namespace, route.name, rule.name)
    mirrored = _mirrors(world, route, where, variant)
    if not rule.backend_refs and not any(each.type in ANSWERS for each in rule.filters):
        why = "without backendRefs, or a filter that answers, every request is answered 500"
        _tell(world, route, f"{where}.backendRefs", "NoBackends", why, "Warning")
    return MeshRule(
        name=rule.name,
        matches=tuple(match(each) for each in rule.matches),
        filters=(*sizes.filters, *filters(rule.filters, mirrored)),
        destinations=tuple(
            _destination(world, route, ref, f"{where}.backendRefs[{place}]", variant)
            for place, ref in enumerate(rule.backend_refs)
        ),
        stickiness=_stickiness(rule.stickiness),
        request_timeout=_limit(rule.timeouts.request) if rule.timeouts else None,
        backend_timeout=_limit(rule.timeouts.backend_request) if rule.timeouts else None,
        retry=_retry(rule.retry),
        origins=sizes.origins,
    )


def _variant(world: Routing, route: ApiRoute, source: Origin, rule: RouteRule) -> Variant | None:
    """The most specific level with client sections of its own; None: the backends are called as everybody does."""
    on_route, on_rule = route_chain(route.namespace, route.name, rule.name)
    base = f"@{route.namespace}/{route.name}"
    if world.attachments.any_on(world.rows, on_rule):
        return Variant(f"{base}/{rule.name}", (on_route, on_rule), source)
    if world.attachments.any_on(world.rows, on_route):
        return Variant(base, (on_route,), source)
    return None


def _destination(
    world: Routing, route: ApiRoute, ref: BackendRef, where: str, variant: Variant | None
) -> MeshDestination:
    own = filters(ref.filters, _mirrors(world, route, where, variant))
    found = _resolved(world, route, ref, variant)
    if isinstance(found, str):
        return MeshDestination(backend=found, weight=ref.weight, filters=own)
    field, why = found
    _tell(world, route, f"{where}.{field}", "BackendNotFound", f"{why}: its share is answered 500")
    return MeshDestination(weight=ref.weight, filters=own, invalid=why)


def _mirrors(world: Routing, route: ApiRoute, where: str, variant: Variant | None) -> Resolve:
    """Finds the backends of mirrors below `where`. A mirror without one is left out: the requests themselves go on."""

    def resolve(mirror: RequestMirror, field: str) -> str:
        found = _resolved(world, route, mirror.backend_ref, variant)
        if isinstance(found, str):
            return found
        wrong, why = found
        _tell(world, route, f"{where}.{field}.{wrong}", "BackendNotFound", f"{why}: nothing is mirrored")
        return ""

    return resolve


def _resolved(
    world: Routing, route: ApiRoute, ref: BackendRef | MirrorRef, variant: Variant | None
) -> str | tuple[str, str]:
    """The backend's name, or which field is wrong and why."""
    key = f"{ref.namespace or route.namespace}/{ref.name}"
    service = world.services.get(key)
    port = world.ports.get(f"{key}:{ref.port}")
    if service is None or port is None or service.external:
        return _unresolved(world, key, service, ref.port)
    name = port.name + (variant.suffix if variant is not None else "")
    if variant is not None and name not in world.backends:
        world.backends[name] = backend(world.attachments, world.rows, service, port, variant)
    return name


def _unresolved(world: Routing, key: str, service: MeshService | None, number: int) -> tuple[str, str]:
    """Which field of a reference is wrong, and why."""
    if service is not None and not service.external:
        return "port", f"Service {key} has no port {number}, {_ports(service)}"
    namespace, _, name = key.partition("/")
    if (namespace, name) in world.cluster.services:
        return "name", f"Service {key} is of type ExternalName: a route sends only to what the mesh holds"
    return "name", f"there is no Service {key}"


def _limit(written: str | None) -> float | None:
    """`0s` is no limit."""
    return (seconds(written) or None) if written is not None else None


def _retry(written: Retry | None) -> RetrySpec | None:
    if written is None:
        return None
    return RetrySpec(
        attempts=written.attempts,
        codes=written.codes,
        conditions=written.conditions,
        methods=written.methods,
        backoff=seconds(written.backoff),
        max_backoff=seconds(written.max_backoff),
    )


def _stickiness(written: Stickiness | None) -> StickinessSpec | None:
    if written is None:
        return None
    if written.cookie is not None:
        return CookieStickiness(written.cookie.name, _limit(written.cookie.lifetime) or 0.0)
    return HeaderStickiness(written.header.name.lower()) if written.header is not None else None


def _tell(world: Routing, route: ApiRoute, field: str, reason: str, message: str, severity: str = "Error") -> None:
    world.problems.append(
        Problem(reference=route.reference, field=field, reason=reason, message=message, severity=severity)
    )


def captures(world: Routing, service: MeshService) -> dict[str, dict[str, Any]]:
    """What the ports of a Service gain from routes: port's name → the fields of MeshPort to set."""
    return {
        port.name: {
            "producers": tuple(placed.get("", ())),
            "consumers": {audience: tuple(names) for audience, names in sorted(placed.items()) if audience},
        }
        for port in service.ports
        if (placed := world.placed.get(port.name))
    }
