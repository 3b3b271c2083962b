"""What a targetRef points at, and whether the section may stand there. Called by `attachment` for every section alike.

Server sections act in the serving proxy, so on a route they need what that proxy can match again; security never
stands on a route of a Service, which could be gone around.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sidewinder_operator.compile.sections import Fault, Row, Scope
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.core import Service
from sidewinder_operator.resources.policy import TargetRef
from sidewinder_operator.resources.route import ApiRoute, RouteRule


class Targets(NamedTuple):
    """Everything that exists, by (kind, namespace, name), with the names of its parts."""

    parts: Mapping[tuple[str, str, str], tuple[str, ...]]
    cluster: Cluster
    system_namespace: str


def survey(cluster: Cluster, system_namespace: str) -> Targets:
    """The targets of a cluster."""
    parts: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for (namespace, name), service in cluster.services.items():
        parts["Service", namespace, name] = tuple(port.name for port in service.spec.ports if port.name)
    for (namespace, name), route in cluster.routes.items():
        parts["ApiRoute", namespace, name] = tuple(rule.name for rule in route.spec.rules)
    return Targets(parts, cluster, system_namespace)


def locate(targets: Targets, namespace: str, ref: TargetRef) -> Scope | Fault:
    """The scope that a policy of `namespace` means, or why there is none."""
    if ref.kind == "Mesh":
        return _mesh(targets, namespace)
    if ref.kind == "Namespace":
        return _own_namespace(namespace, ref)
    name, part = ref.name or "", ref.section_name or ""
    parts = targets.parts.get((ref.kind, namespace, name))
    if parts is None:
        return Fault("name", "TargetNotFound", f"there is no {ref.kind} {namespace}/{name}")
    if part and part not in parts:
        known = f"it has {', '.join(parts)}" if parts else "none of its parts has a name"
        return Fault("sectionName", "TargetNotFound", f"{ref.kind} {namespace}/{name} has no {part}: {known}")
    return Scope(ref.kind, namespace, name, part)


def _mesh(targets: Targets, namespace: str) -> Scope | Fault:
    if namespace == targets.system_namespace:
        return Scope("Mesh")
    where = f"the whole mesh is targeted only from namespace {targets.system_namespace}"
    return Fault("kind", "TargetNotFound", f"{where}; kind Namespace would mean {namespace}")


def _own_namespace(namespace: str, ref: TargetRef) -> Scope | Fault:
    if ref.name in (None, "", namespace):
        return Scope("Namespace", namespace)
    return Fault("name", "TargetNotFound", f"kind Namespace means the policy's own, {namespace}: leave the name out")


def refusal(targets: Targets, row: Row, scope: Scope) -> Fault | None:
    """Why this section may not stand on this target; None: it may."""
    if scope.kind not in row.written.TARGETS:
        kinds = ", ".join(sorted(row.written.TARGETS))
        return Fault("kind", "Invalid", f"{row.name} cannot be attached to kind {scope.kind}, only to {kinds}")
    if row.client:
        return None
    if scope.kind == "Service":
        return _on_service(row, targets.cluster.services[scope.namespace, scope.name])
    if scope.kind != "ApiRoute" or row.written.ROUTED:
        return None
    return _on_route(row, scope, targets.cluster.routes[scope.namespace, scope.name])


def _on_service(row: Row, service: Service) -> Fault | None:
    """A server section is enforced by the proxies of those whom the Service selects: without a selector by nobody."""
    if service.spec.selector and service.spec.type != "ExternalName":
        return None
    why = "has no selector" if service.spec.type != "ExternalName" else "is a host outside"
    return Fault("name", "Invalid", f"Service {service.namespace}/{service.name} {why}: nobody enforces {row.name}")


def _on_route(row: Row, scope: Scope, route: ApiRoute) -> Fault | None:
    """A server section on a route of a Service: the serving proxy must be able to match what it receives again."""
    if row.written.SECURITY:
        return Fault("kind", "Invalid", f"a route can be gone around: attach {row.name} to the Service")
    if any((parent.namespace or scope.namespace) != scope.namespace for parent in route.spec.parent_refs):
        return Fault("kind", "Invalid", f"{row.name} acts where the Service is served: only its own namespace sets it")
    for rule in route.spec.rules:
        if scope.part in ("", rule.name) and (why := _unserved(rule, scope.namespace)):
            return Fault("kind", "Invalid", f"{row.name} acts in the serving proxy, but rule {rule.name} {why}")
    return None


def _unserved(rule: RouteRule, namespace: str) -> str:
    """Why the serving proxy could not match this rule's requests again; "" where it can."""
    refs = rule.backend_refs
    if any(each.type == "URLRewrite" for filters in (rule.filters, *(ref.filters for ref in refs)) for each in filters):
        return "rewrites the URL, so that the request no longer matches there"
    if any((ref.namespace or namespace) != namespace for ref in refs):
        return "has a backend in another namespace"
    return ""
