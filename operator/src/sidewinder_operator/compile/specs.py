"""Mesh nouns to snapshot specs, one function each: no decision is taken here. Called by `project`."""

from __future__ import annotations

from sidewinder_operator.compile import circuit_breaker, concurrency
from sidewinder_operator.compile.in_front import MOST_HOPS
from sidewinder_operator.mesh import Mesh
from sidewinder_operator.mesh.load_balancing import MeshLoadBalancing
from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.mesh.retry_constraint import MeshRetryConstraint
from sidewinder_operator.mesh.routes import MeshRoute
from sidewinder_operator.mesh.services import MeshBackend, MeshPort, MeshService, Spoken
from sidewinder_operator.mesh.workloads import MeshGateway, MeshWorkload, WorkloadPort
from sidewinder_operator.problems import Reference
from sidewinder_sidecar.snapshot import Resource
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.routes import RouteSpec, RuleSpec, WeightedBackend
from sidewinder_sidecar.snapshot.services import ServiceSpec
from sidewinder_sidecar.snapshot.upstreams import (
    BackendSpec,
    BudgetSpec,
    EndpointSpec,
    EndpointsSpec,
    LeastRequest,
)

_DEFAULT_BALANCING = MeshLoadBalancing(balancing=LeastRequest())  # BackendSpec's own, so that no byte is changed
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
    chosen = mesh_backend.load_balancing or _DEFAULT_BALANCING
    return BackendSpec(
        name=mesh_backend.name,
        endpoints=mesh_backend.endpoints,
        service=mesh_backend.service,
        balancing=chosen.balancing,
        slow_start=chosen.slow_start,
        subset=chosen.subset,
        locality=chosen.locality,
        budget=_budget(mesh_backend.retry_constraint),
        breaker=circuit_breaker.spec(mesh_backend.circuit_breaker),
        concurrency=concurrency.spec(mesh_backend.concurrency),
    )


def _budget(section: MeshRetryConstraint | None) -> BudgetSpec:
    if section is None:
        return _DEFAULT_BUDGET
    return BudgetSpec(
        percent=section.percent,
        interval=section.interval,
        min_count=section.min_count,
        min_interval=section.min_interval,
    )


def service(
    mesh_service: MeshService,
    port: MeshPort,
    names: tuple[str, ...],
    routes: tuple[str, ...],
    spoken: Spoken,
    *,
    gateway: bool,
) -> ServiceSpec:
    """A Service's port as sent. A gateway knows it by its names alone, whatever port they come with."""
    return ServiceSpec(
        name=port.name,
        namespace=mesh_service.namespace,
        port=port.port,
        domains=names,
        addresses=() if gateway else mesh_service.addresses,
        headless=mesh_service.headless and not gateway,
        protocol=spoken,
        any_port=gateway,
        routes=routes,
        backend=port.name,
    )


def endpoints(port: MeshPort) -> EndpointsSpec:
    """Who answers, as sent."""
    return EndpointsSpec(
        name=port.name,
        endpoints=tuple(
            EndpointSpec(
                uid=e.uid,
                address=e.address,
                port=e.port,
                weight=e.weight,
                zone=e.zone,
                ready=e.ready,
                healthy=e.healthy,
                labels=e.labels,
                identity=e.identity,
            )
            for e in port.endpoints
        ),
    )


def ready(spec: Resource) -> frozenset[str]:
    """The uids to which new requests may go; of anything but endpoints none."""
    return frozenset(e.uid for e in spec.endpoints if e.ready) if isinstance(spec, EndpointsSpec) else frozenset()


def proxy(mesh: Mesh, workload: MeshWorkload) -> ProxySpec:
    """What a sidecar tells about itself."""
    return ProxySpec(
        name=workload.name,
        namespace=workload.namespace,
        service=workload.service or workload.name,
        labels=workload.labels,
        zone=workload.zone,
        cluster_domain=mesh.cluster_domain,
        trust_domain=mesh.cluster_domain,
        trace_percent=mesh.trace_percent,
        lazy=workload.lazy,
        terminating=workload.terminating,
        last_resort=workload.last_resort,
    )


def inbound(workload: MeshWorkload) -> dict[str, Resource]:
    """What leads to the application: a listener in front of each port; of a pod one for all, by the port dialled."""
    resources: dict[str, Resource] = {}
    for port in workload.ports:
        resources.update(_behind(workload, port))
    if workload.inbound:
        listener = ListenerSpec(
            name="inbound",
            direction="Inbound",
            address=_wildcard(workload),
            port=workload.inbound,
            services=tuple(_inbound_name(port) for port in workload.ports),
            pass_through=True,  # a port that nobody declared is still the application's own
            transparent=True,
            policy=workload.policy,
            trusted_hops=workload.trusted_hops,
            proxy_protocol=workload.proxy_protocol,
        )
        return {"listener/inbound": listener, **resources}
    listeners: dict[str, Resource] = {
        f"listener/{_inbound_name(port)}": ListenerSpec(
            name=_inbound_name(port),
            direction="Inbound",
            address=workload.addresses[0],
            port=port.dialled,
            services=(),  # whatever the authority says, it is the application that was dialled
            default_service=_inbound_name(port),
            trusted_hops=workload.trusted_hops,
            proxy_protocol=(port.dialled,) if workload.proxy_protocol else (),
        )
        for port in workload.ports
    }
    return {**listeners, **resources}


def _wildcard(workload: MeshWorkload) -> str:
    """Where a pod's listeners wait: on both families where the pod has an address of IPv6."""
    return "::" if any(":" in address for address in workload.addresses) else "0.0.0.0"


def _inbound_name(port: WorkloadPort) -> str:
    return f"inbound-{port.port}" if port.port else "inbound"


def _behind(workload: MeshWorkload, port: WorkloadPort) -> dict[str, Resource]:
    """The application's port as a service with one endpoint."""
    name, address = _inbound_name(port), workload.addresses[0]
    application = EndpointSpec(uid=workload.uid, address=address, port=port.application)
    owner = f"{workload.namespace}/{workload.service or workload.name}"
    return {
        f"service/{name}": ServiceSpec(
            name=name,
            namespace=workload.namespace,
            port=port.port or port.application,
            protocol=port.protocol,
            backend=name,
            policy=port.policy,
        ),
        f"backend/{name}": BackendSpec(name=name, endpoints=name, service=owner),
        f"endpoints/{name}": EndpointsSpec(name=name, endpoints=(application,)),
    }


def outbound(mesh: Mesh, workload: MeshWorkload) -> dict[str, Resource]:
    """Where the application's calls come: redirected in a pod, else to an HTTP proxy that it is given.

    What no Service owns passes through; from a pod only where the mesh allows it.
    """
    if workload.inbound:
        redirected = ListenerSpec(
            name="outbound",
            direction="Outbound",
            address=_wildcard(workload),
            port=workload.outbound,
            pass_through=mesh.outbound == "Allow",
            transparent=True,
            trusted_hops=_told_on(workload),
        )
        return {"listener/outbound": redirected}
    listener = ListenerSpec(
        name="outbound",
        direction="Outbound",
        address=workload.addresses[0],
        port=workload.outbound,
        forward_proxy=True,
        pass_through=True,
        trusted_hops=_told_on(workload),
    )
    return {"listener/outbound": listener}


def _told_on(workload: MeshWorkload) -> int:
    """Who is told of the hops in front of it passes them on when it calls others: they count for themselves."""
    return MOST_HOPS if workload.trusted_hops else 0


def own(mesh: Mesh, noun: MeshWorkload | MeshGateway) -> tuple[dict[str, Resource], tuple[Origin, ...]]:
    """All that is one proxy's alone, and where it comes from: nobody has written a gateway of local mode."""
    if isinstance(noun, MeshGateway):
        return {"proxy/self": gateway_proxy(mesh, noun), **gateway(noun)}, ()
    source = Origin(Reference(noun.kind, noun.namespace, noun.name), noun.uid, noun.generation)
    return {"proxy/self": proxy(mesh, noun), **inbound(noun), **outbound(mesh, noun)}, (source,)


def gateway_proxy(mesh: Mesh, way_in: MeshGateway) -> ProxySpec:
    """What a gateway tells about itself: it is in no namespace."""
    return ProxySpec(
        name=way_in.name,
        namespace="",
        service=way_in.name,
        cluster_domain=mesh.cluster_domain,
        trust_domain=mesh.cluster_domain,
        trace_percent=mesh.trace_percent,
    )


def gateway(way_in: MeshGateway) -> dict[str, Resource]:
    """The listener of a way in."""
    listener = ListenerSpec(name=way_in.name, direction="Gateway", address=way_in.address, port=way_in.port)
    return {f"listener/{way_in.name}": listener}
