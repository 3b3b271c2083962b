"""Mesh nouns to snapshot specs, one function each: no decision is taken here. Called by `project`."""

from __future__ import annotations

from collections.abc import Mapping

from sidewinder_operator.mesh import Mesh
from sidewinder_operator.mesh.load_balancing import Algorithm, MeshLoadBalancing
from sidewinder_operator.mesh.retry_constraint import MeshRetryConstraint
from sidewinder_operator.mesh.routes import MeshRoute
from sidewinder_operator.mesh.services import MeshBackend, MeshPort, MeshService
from sidewinder_operator.mesh.workloads import MeshGateway, MeshWorkload, WorkloadPort
from sidewinder_sidecar.snapshot import Resource
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.routes import RouteSpec, RuleSpec, WeightedBackend
from sidewinder_sidecar.snapshot.services import ServiceSpec
from sidewinder_sidecar.snapshot.upstreams import (
    BackendSpec,
    Balancing,
    BudgetSpec,
    EndpointSpec,
    EndpointsSpec,
    LeastRequest,
    RoundRobin,
)

_BALANCING: Mapping[Algorithm, Balancing] = {"RoundRobin": RoundRobin(), "LeastRequest": LeastRequest()}
_DEFAULT_BALANCING = LeastRequest()  # BackendSpec's own default, so that an absent section changes no byte
_DEFAULT_BUDGET = BudgetSpec()


def domains(service: MeshService, namespace: str, cluster_domain: str) -> tuple[str, ...]:
    """The names under which a Service is called from `namespace`; the bare one only from its own."""
    full = f"{service.name}.{service.namespace}".lower()
    everywhere = (full, f"{full}.svc", f"{full}.svc.{cluster_domain}")
    return (service.name.lower(), *everywhere) if service.namespace == namespace else everywhere


def gateway_domains(service: MeshService, index: int, domain: str) -> tuple[str, ...]:
    """The names at a way in: the first port has the Service's, each further one its own name or number in front."""
    full = f"{service.name}.{service.namespace}.{domain}".lower()
    port = service.ports[index]
    return (full,) if index == 0 else (f"{port.label or port.port}.{full}",)


def route(mesh_route: MeshRoute) -> RouteSpec:
    """A route as sent."""
    rules = tuple(
        RuleSpec(
            name=rule.name,
            matches=rule.matches,
            filters=rule.filters,
            backends=tuple(
                WeightedBackend(backend=d.backend, weight=d.weight, filters=d.filters, invalid=d.invalid)
                for d in rule.destinations
            ),
            stickiness=rule.stickiness,
            request_timeout=rule.request_timeout,
            backend_timeout=rule.backend_timeout,
            retry=rule.retry,
        )
        for rule in mesh_route.rules
    )
    return RouteSpec(name=mesh_route.name, hostnames=mesh_route.hostnames, rules=rules)


def backend(mesh_backend: MeshBackend) -> BackendSpec:
    """A backend as sent."""
    return BackendSpec(
        name=mesh_backend.name,
        endpoints=mesh_backend.endpoints,
        service=mesh_backend.service,
        balancing=_balancing(mesh_backend.load_balancing),
        budget=_budget(mesh_backend.retry_constraint),
    )


def _balancing(section: MeshLoadBalancing | None) -> Balancing:
    return _BALANCING[section.algorithm] if section is not None else _DEFAULT_BALANCING


def _budget(section: MeshRetryConstraint | None) -> BudgetSpec:
    if section is None:
        return _DEFAULT_BUDGET
    return BudgetSpec(
        percent=section.percent,
        interval=section.interval,
        min_count=section.min_count,
        min_interval=section.min_interval,
    )


def endpoints(port: MeshPort) -> EndpointsSpec:
    """Who answers, as sent."""
    return EndpointsSpec(
        name=port.name,
        endpoints=tuple(
            EndpointSpec(uid=e.uid, address=e.address, port=e.port, zone=e.zone, ready=e.ready, labels=e.labels)
            for e in port.endpoints
        ),
    )


def proxy(mesh: Mesh, workload: MeshWorkload) -> ProxySpec:
    """What a sidecar tells about itself."""
    return ProxySpec(
        name=workload.name,
        namespace=workload.namespace,
        service=workload.service or workload.name,
        labels=workload.labels,
        cluster_domain=mesh.cluster_domain,
        trace_percent=mesh.trace_percent,
    )


def inbound(workload: MeshWorkload) -> dict[str, Resource]:
    """A listener in front of each port of the application, and the application as the only thing behind it."""
    resources: dict[str, Resource] = {}
    for port in workload.ports:
        resources.update(_inbound(workload, port))
    return resources


def _inbound(workload: MeshWorkload, port: WorkloadPort) -> dict[str, Resource]:
    name, address = f"inbound-{port.port}" if port.port else "inbound", workload.addresses[0]
    application = EndpointSpec(uid=workload.uid, address=address, port=port.application)
    owner = f"{workload.namespace}/{workload.service or workload.name}"
    return {
        f"listener/{name}": ListenerSpec(
            name=name,
            direction="Inbound",
            address=address,
            port=port.dialled,
            services=(),  # whatever the authority says, it is the application that was dialled
            default_service=name,
        ),
        f"service/{name}": ServiceSpec(
            name=name, namespace=workload.namespace, port=port.port or port.application, backend=name
        ),
        f"backend/{name}": BackendSpec(name=name, endpoints=name, service=owner),
        f"endpoints/{name}": EndpointsSpec(name=name, endpoints=(application,)),
    }


def outbound(workload: MeshWorkload) -> dict[str, Resource]:
    """The HTTP proxy that the application is given; hosts that no Service owns pass through."""
    listener = ListenerSpec(
        name="outbound",
        direction="Outbound",
        address=workload.addresses[0],
        port=workload.outbound,
        forward_proxy=True,
        pass_through=True,
    )
    return {"listener/outbound": listener}


def gateway_proxy(mesh: Mesh, way_in: MeshGateway) -> ProxySpec:
    """What a gateway tells about itself: it is in no namespace."""
    return ProxySpec(
        name=way_in.name,
        namespace="",
        service=way_in.name,
        cluster_domain=mesh.cluster_domain,
        trace_percent=mesh.trace_percent,
    )


def gateway(way_in: MeshGateway) -> dict[str, Resource]:
    """The listener of a way in."""
    listener = ListenerSpec(name=way_in.name, direction="Gateway", address=way_in.address, port=way_in.port)
    return {f"listener/{way_in.name}": listener}
