"""Services as callers meet them: ports, who answers there, and how each is called. Called by `compiler`.

Endpoints come from written EndpointSlices and from the workloads that the Service selects, whichever there are. Where
none of a port's is ready, those that terminate and still serve are its last resort, as for kube-proxy (KEP-1669).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from sidewinder_operator.compile.directory import canonical
from sidewinder_operator.compile.identities import Identities
from sidewinder_operator.compile.protocol import protocol
from sidewinder_operator.compile.sections import Attachments, Row, Scope, service_chain
from sidewinder_operator.compile.seniority import origin
from sidewinder_operator.compile.workloads import POD, WEIGHT, Selection, weight
from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.mesh.services import MeshBackend, MeshEndpoint, MeshPort, MeshService
from sidewinder_operator.mesh.workloads import MeshWorkload
from sidewinder_operator.problems import Problem, Reference
from sidewinder_operator.resources import Cluster, Key
from sidewinder_operator.resources.constraints import snake
from sidewinder_operator.resources.core import EndpointSlice, Service, ServicePort

OWNER = "kubernetes.io/service-name"  # the label by which a slice names its Service
HEADLESS = "None"  # as clusterIP


class Variant(msgspec.Struct, frozen=True):
    """What a route or a rule with client sections of its own adds to the backends that it calls."""

    suffix: str  # "@bookinfo/reviews/everyone"
    chain: tuple[Scope, ...]
    origin: Origin


def services(
    cluster: Cluster,
    selection: Selection,
    identities: Identities,
    stale: frozenset[Reference],
    problems: list[Problem],
    left: Collection[str] = (),
) -> dict[str, MeshService]:
    """All Services that have a port of ours to call, by "<namespace>/<name>", still without routes. `left`: pods that
    are nobody's last resort any more."""
    slices = _by_service(cluster, problems)
    asked = _asked(cluster)
    found = {}
    for key, service in cluster.services.items():
        source = origin(service, service.reference in stale)
        if service.spec.type == "ExternalName":
            if (outside := _external(service, source, problems)) is not None:
                found["/".join(key)] = outside
            continue
        members, own_slices = selection.members(key), slices.get(key, ())
        known = _told(members, asked, left)
        addresses = _addresses(service)
        found["/".join(key)] = MeshService(
            namespace=key[0],
            name=key[1],
            ports=tuple(
                _port(service, port, own_slices, members, known, identities) for port in _served(service, problems)
            ),
            addresses=addresses,
            headless=service.spec.cluster_ip == HEADLESS,
            origin=source,
        )
        problems.extend(_unmet(service, members))
    return found


def _addresses(service: Service) -> tuple[str, ...]:
    """Where callers dial it, whoever listens there: what the cluster gave it, and what stands before the cluster."""
    spec = service.spec
    written = (
        spec.cluster_ip,
        *spec.cluster_ips,
        *spec.external_ips,
        *(ingress.ip for ingress in service.status.load_balancer.ingress),
    )
    return tuple(sorted({address for each in written if (address := canonical(each)) is not None}))


def _external(service: Service, source: Origin, problems: list[Problem]) -> MeshService | None:
    """A name for a host outside. Its own address would be the caller's own machine, so some hosts are refused."""
    host = service.spec.external_name.lower().rstrip(".")
    if not host or canonical(host) is not None or host == "localhost" or host.endswith(".localhost"):
        problems.append(
            Problem(
                reference=service.reference,
                field="spec.externalName",
                reason="Invalid",
                message=f"{host or 'nothing'} is no host outside: write a DNS name such as db.example.com",
            )
        )
        return None
    ports = tuple(
        MeshPort(
            name=port_name(service.namespace, service.name, port.port),
            port=port.port,
            label=port.name,
            protocol=protocol(port.app_protocol),
            endpoints=(MeshEndpoint(uid=host, address=host, port=port.port),),
        )
        for port in _served(service, problems)
    )
    return MeshService(namespace=service.namespace, name=service.name, ports=ports, external=host, origin=source)


def port_name(namespace: str, service: str, port: int) -> str:
    """What names a Service's port everywhere."""
    return f"{namespace}/{service}:{port}"


def _served(service: Service, problems: list[Problem]) -> Iterator[ServicePort]:
    """The ports that can carry HTTP. Of two with one number the first counts: a number is what routes go by."""
    seen = set()
    for index, port in enumerate(service.spec.ports):
        if port.protocol != "TCP":
            continue
        if port.port not in seen:
            seen.add(port.port)
            yield port
            continue
        problems.append(
            Problem(
                reference=service.reference,
                field=f"spec.ports[{index}].port",
                reason="Duplicate",
                message=f"{port.port} stands here twice: the first counts",
            )
        )


def _port(
    service: Service,
    port: ServicePort,
    slices: Iterable[EndpointSlice],
    members: Iterable[MeshWorkload],
    known: Told,
    identities: Identities,
) -> MeshPort:
    own = _of_family(service, slices)
    found: dict[tuple[str, str, int], MeshEndpoint] = {}

    def add(endpoints: Iterable[MeshEndpoint]) -> None:
        for endpoint in endpoints:
            key = endpoint.uid, endpoint.address, endpoint.port
            if endpoint.ready or key not in found:  # while slices are rewritten one may stand in two: ready counts
                found[key] = endpoint

    add(_sliced(service, port, own, known, identities))
    add(_selected(service, port, members, identities))
    if not any(endpoint.ready for endpoint in found.values()):
        add(_sliced(service, port, own, known, identities, last_resort=True))
    return MeshPort(
        name=port_name(service.namespace, service.name, port.port),
        port=port.port,
        label=port.name,
        protocol=protocol(port.app_protocol),
        endpoints=tuple(found[key] for key in sorted(found)),
    )


def _of_family(service: Service, slices: Iterable[EndpointSlice]) -> Iterable[EndpointSlice]:
    """Of a Service of two families the first's: each pod once. A headless one is called at every address it has."""
    first = canonical(service.spec.cluster_ip)
    if first is None:
        return slices
    own = [each for each in slices if (each.address_type == "IPv6") == (":" in first)]
    return own or slices


def _asked(cluster: Cluster) -> frozenset[str]:
    """The labels by which subsets are told apart: of all that pods have, only these are worth sending everywhere."""
    sections = (policy.spec.load_balancing for policy in cluster.policies.values())
    return frozenset(label.name for section in sections if section is not None for label in section.subset)


class Told(NamedTuple):
    """What slices do not tell of their pods, by uid."""

    leaving: frozenset[str]  # being deleted: known before their slices say it
    left: Collection[str]  # among them: those that were taken out already
    labels: Mapping[str, dict[str, str]]
    weights: Mapping[str, int]


def _told(members: Iterable[MeshWorkload], asked: frozenset[str], left: Collection[str]) -> Told:
    """`asked` are the labels worth knowing."""
    pods = [workload for workload in members if workload.kind == POD]
    labels = {
        workload.uid: {name: workload.labels[name] for name in sorted(asked) if name in workload.labels}
        for workload in (pods if asked else ())
    }
    weights = {workload.uid: weight(workload.labels) for workload in pods if WEIGHT in workload.labels}
    return Told(frozenset(workload.uid for workload in members if workload.terminating), left, labels, weights)


def with_last_resorts(workloads: dict[str, MeshWorkload], called: Mapping[str, MeshService]) -> dict[str, MeshWorkload]:
    """Those who terminate and are called all the same know it: their proxies are told."""
    leaving = {workload.uid for workload in workloads.values() if workload.terminating}
    if not leaving:
        return workloads
    ports = (port for service in called.values() for port in service.ports)
    kept = {endpoint.uid for port in ports for endpoint in port.endpoints if endpoint.ready and endpoint.uid in leaving}
    return {
        key: msgspec.structs.replace(workload, last_resort=True) if workload.uid in kept else workload
        for key, workload in workloads.items()
    }


def _selected(
    service: Service, port: ServicePort, members: Iterable[MeshWorkload], identities: Identities
) -> Iterator[MeshEndpoint]:
    target = port.target_port if port.target_port is not None else port.port
    any_ready = service.spec.publish_not_ready_addresses
    for workload in members:
        if workload.kind == POD:
            continue  # the cluster itself writes slices for pods, and knows better when they are ready
        for own in workload.ports:
            if own.name == target if isinstance(target, str) else own.port in (0, target):
                for address in workload.addresses:
                    uid = workload.uid or f"{workload.id}/{address}"
                    yield MeshEndpoint(
                        uid=uid,
                        address=address,
                        port=own.dialled,
                        weight=weight(workload.labels),
                        zone=workload.zone,
                        ready=workload.ready or any_ready,
                        labels=workload.labels,
                        identity=identities.of(workload, own.dialled),
                    )


def _sliced(
    service: Service,
    port: ServicePort,
    slices: Iterable[EndpointSlice],
    known: Told,
    identities: Identities,
    *,
    last_resort: bool = False,
) -> Iterator[MeshEndpoint]:
    """What the cluster says of its pods. Who is leaving gets nothing new, not even where readiness does not count;
    `last_resort`: those who are leaving and still serve get it, and nobody else."""
    any_ready = service.spec.publish_not_ready_addresses
    for each in slices:
        numbers = [
            own.port for own in each.ports if own.name == port.name and own.protocol == port.protocol and own.port
        ]
        for endpoint in each.endpoints:
            address = endpoint.addresses[0]
            if not _is_ip(address, each.address_type):
                continue
            uid = endpoint.target_ref.uid if endpoint.target_ref is not None else ""
            told = endpoint.conditions
            stays = not told.terminating and uid not in known.leaving
            if last_resort:
                serves = told.ready is not False if told.serving is None else told.serving
                ready = not stays and serves and uid not in known.left
            else:
                ready = stays and (any_ready or told.ready is not False)
            for number in numbers:
                yield MeshEndpoint(
                    uid=uid or address,
                    address=address,
                    port=number,
                    weight=known.weights.get(uid, 1),
                    zone=endpoint.zone,
                    ready=ready,
                    labels=known.labels.get(uid, {}),
                    identity=identities.at(uid, address, number),
                )


def _by_service(cluster: Cluster, problems: list[Problem]) -> Mapping[Key, list[EndpointSlice]]:
    """The slices that can be used, by the Service that they name."""
    found: dict[Key, list[EndpointSlice]] = defaultdict(list)
    for each in cluster.slices.values():
        owner = each.metadata.labels.get(OWNER, "")
        faults = list(_faults(cluster, each, owner))
        problems.extend(faults)
        if not any(fault.reason in _USELESS for fault in faults):
            found[each.namespace, owner].append(each)
    return found


_USELESS = frozenset({"ServiceNotFound", "Unsupported"})  # the whole slice; a bad address costs only itself


def _faults(cluster: Cluster, each: EndpointSlice, owner: str) -> Iterator[Problem]:
    def fault(field: str, reason: str, message: str, severity: str = "Error") -> Problem:
        return Problem(reference=each.reference, field=field, reason=reason, message=message, severity=severity)

    if (each.namespace, owner) not in cluster.services:
        why = f"there is no Service {each.namespace}/{owner}" if owner else "the label must name the slice's Service"
        # A warning: a Service's slices may well be there before it, and after it.
        yield fault(f"metadata.labels[{OWNER}]", "ServiceNotFound", why, "Warning")
    elif each.address_type == "FQDN":
        yield fault("addressType", "Unsupported", "host names are not resolved: write IPv4 or IPv6 addresses")
    else:
        for index, endpoint in enumerate(each.endpoints):
            if not _is_ip(endpoint.addresses[0], each.address_type):
                why = f"{endpoint.addresses[0]} is no {each.address_type} address: nothing is sent there"
                yield fault(f"endpoints[{index}].addresses[0]", "Invalid", why)


def _is_ip(text: str, family: str) -> bool:
    return canonical(text) is not None and (":" in text) == (family == "IPv6")


def _unmet(service: Service, members: tuple[MeshWorkload, ...]) -> Iterator[Problem]:
    """A targetPort by name that nobody whom the Service selects has."""
    names = {own.name for workload in members for own in workload.ports}
    for index, port in enumerate(service.spec.ports):
        if members and isinstance(port.target_port, str) and port.target_port not in names:
            yield Problem(
                reference=service.reference,
                field=f"spec.ports[{index}].targetPort",
                reason="PortNotFound",
                message=f"nobody it selects has a port named {port.target_port}; they have {', '.join(sorted(names))}",
                severity="Warning",
            )


def backend(
    attachments: Attachments, rows: Iterable[Row], service: MeshService, port: MeshPort, variant: Variant | None = None
) -> MeshBackend:
    """How one port is called, or how one route calls it: the client sections at the end of the chain of scopes."""
    chain = service_chain(service.namespace, service.name, port.label)
    values = {}
    origins: list[Origin] = []
    if variant is not None:
        chain = (*chain, *variant.chain)
    for row in rows:
        applied = attachments.effective(row, chain) if row.client else ()
        if applied:
            values[snake(row.name)] = applied[-1].value
            origins.extend(each.origin for each in applied)
    sources = (*origins, service.origin, *((variant.origin,) if variant is not None else ()))
    return MeshBackend(
        name=port.name + (variant.suffix if variant is not None else ""),
        service=f"{service.namespace}/{service.name}",
        endpoints=port.name,
        origins=tuple(dict.fromkeys(sources)),
        **values,
    )
