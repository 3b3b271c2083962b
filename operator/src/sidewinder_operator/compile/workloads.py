"""Who runs, and which Service selects whom. Called by `compiler`; `services` asks a Selection for its members."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping

import msgspec

from sidewinder_operator.compile import in_front
from sidewinder_operator.compile.protocol import protocol
from sidewinder_operator.mesh.services import Spoken
from sidewinder_operator.mesh.workloads import (
    MeshGateway,
    MeshWorkload,
    PodReplica,
    Replica,
    WayIn,
    WorkloadPort,
    identity,
)
from sidewinder_operator.resources import Cluster, Key
from sidewinder_operator.resources.core import Service, ServicePort
from sidewinder_operator.resources.workload import ExternalWorkload, LocalProcess

POD = "Pod"
ZONE = "topology.kubernetes.io/zone"  # the label by which a workload says where it runs
WEIGHT = "sidewinder.dev/weight"  # the label by which it says how much of a Service's load is its own
MOST_WEIGHT = 100


def workloads(
    cluster: Cluster, replicas: Iterable[Replica], pods: Iterable[PodReplica] = ()
) -> dict[str, MeshWorkload]:
    """Everything that can be selected, by id. A replica whose LocalProcess is gone belongs to nobody any more."""
    found = [_external(workload) for workload in cluster.workloads.values()]
    found.extend(map(_pod, pods))
    for replica in replicas:
        process = cluster.processes.get((replica.namespace, replica.name))
        if process is not None:
            found.append(_process(process, replica))
    return {workload.id: workload for workload in sorted(found, key=lambda each: each.id)}


def _external(workload: ExternalWorkload) -> MeshWorkload:
    """What somebody else started: dialled where it is, without a sidecar of ours."""
    spec, (namespace, name) = workload.spec, workload.key
    return MeshWorkload(
        id=identity(workload.KIND, namespace, name),
        kind=workload.KIND,
        namespace=namespace,
        name=name,
        uid=workload.metadata.uid,
        generation=workload.metadata.generation,
        labels=workload.metadata.labels,
        zone=workload.metadata.labels.get(ZONE, ""),
        service_account=spec.service_account,
        addresses=spec.addresses,
        ports=tuple(WorkloadPort(port=port.port, name=port.name, dialled=port.port) for port in spec.ports),
    )


def _process(process: LocalProcess, replica: Replica) -> MeshWorkload:
    """What local mode started: dialled at its sidecar. It has one port, which every number means."""
    port = WorkloadPort(name=process.spec.port_name, dialled=replica.inbound, application=replica.application)
    return MeshWorkload(
        id=replica.id,
        kind=process.KIND,
        namespace=replica.namespace,
        name=replica.name,
        uid=replica.uid,
        generation=process.metadata.generation,
        labels=process.metadata.labels,
        zone=process.metadata.labels.get(ZONE, ""),
        service_account=replica.service_account or process.spec.service_account,
        addresses=(replica.address,),
        ports=(port,),
        outbound=replica.outbound,
        trusted_hops=in_front.hops(process.metadata.annotations),
        proxy_protocol=in_front.ports(process.metadata.annotations),
        ready=replica.ready,
    )


def _pod(pod: PodReplica) -> MeshWorkload:
    """A pod with a sidecar of ours: dialled at its own ports, from which its kernel leads to the sidecar."""
    return MeshWorkload(
        id=pod.id,
        kind=POD,
        namespace=pod.namespace,
        name=pod.name,
        uid=pod.uid,
        labels=pod.labels,
        zone=pod.zone,
        service_account=pod.service_account,
        addresses=pod.addresses,
        ports=pod.ports,
        outbound=pod.outbound,
        inbound=pod.inbound,
        direct=pod.direct,
        trusted_hops=pod.trusted_hops,
        proxy_protocol=pod.proxy_protocol,
        ready=pod.ready and not pod.terminating,
        terminating=pod.terminating,
    )


def gateways(ways_in: Iterable[WayIn]) -> dict[str, MeshGateway]:
    """The ways in, by id."""
    found = (MeshGateway(id=w.id, name=w.name, address=w.address, port=w.port, domain=w.domain) for w in ways_in)
    return {gateway.id: gateway for gateway in sorted(found, key=lambda each: each.id)}


class Selection:
    """Which Service selects whom, by labels in its own namespace. One walk over both, not one for each pair."""

    def __init__(self, cluster: Cluster, found: dict[str, MeshWorkload]) -> None:
        self._by_label: dict[tuple[str, str, str], list[MeshWorkload]] = defaultdict(list)
        for workload in found.values():
            for name, value in workload.labels.items():
                self._by_label[workload.namespace, name, value].append(workload)
        self._members = {key: self._select(service) for key, service in cluster.services.items()}
        self._services: dict[str, list[Service]] = defaultdict(list)  # workload's id → who selects it
        self._owners = self._own(cluster)

    def members(self, service: Key) -> tuple[MeshWorkload, ...]:
        """The workloads that a Service selects, by id."""
        return self._members.get(service, ())

    def services(self, workload: str) -> tuple[Service, ...]:
        """The Services that select a workload, by name."""
        return tuple(self._services.get(workload, ()))

    def owned(self, found: dict[str, MeshWorkload], obeying: Container[str] = ()) -> dict[str, MeshWorkload]:
        """The workloads with the Service that each belongs to: of several the one that asks for the fewest labels.

        `reviews` rather than `reviews-v1`: what people call the application, not one of its versions. Pods also get the
        ports that Services select of them. `obeying`: names of Services' ports with a section that the server obeys.
        """
        return {id_: self._owned(workload, obeying) for id_, workload in found.items()}

    def _owned(self, workload: MeshWorkload, obeying: Container[str]) -> MeshWorkload:
        owner = self._owners.get(workload.id)
        if owner is None:
            return workload
        ports = workload.ports
        if workload.kind == POD:
            ports = _served(workload, self._services[workload.id], obeying)
        return msgspec.structs.replace(workload, service=owner[1], ports=ports)

    def _select(self, service: Service) -> tuple[MeshWorkload, ...]:
        selector = service.spec.selector
        if not selector:
            return ()
        candidates = min((self._by_label.get((service.namespace, *pair), ()) for pair in selector.items()), key=len)
        return tuple(w for w in candidates if selector.items() <= w.labels.items())

    def _own(self, cluster: Cluster) -> dict[str, tuple[int, str]]:
        owners: dict[str, tuple[int, str]] = {}
        for key, members in self._members.items():
            rank = (len(cluster.services[key].spec.selector), key[1])
            for workload in members:
                owners[workload.id] = min(owners.get(workload.id, rank), rank)
                self._services[workload.id].append(cluster.services[key])
        return owners


def leads_to(service: Service, port: WorkloadPort) -> Iterator[ServicePort]:
    """The ports of a Service through which this port of a workload that it selects is called."""
    for own in service.spec.ports:
        target = own.target_port if own.target_port is not None else own.port
        if own.protocol == "TCP" and (port.name == target if isinstance(target, str) else port.port in (0, target)):
            yield own


def _served(pod: MeshWorkload, services: Iterable[Service], obeying: Container[str]) -> tuple[WorkloadPort, ...]:
    """A pod's ports: those that its containers declare and those that Services select, by name or by number.

    What comes to one is what the Services say of it; where one says HTTP, no other makes it TCP.
    """
    declared = {port.port: port for port in pod.ports}
    named = {port.name: port.port for port in pod.ports if port.name}
    said: dict[int, set[str]] = {number: set() for number in declared}
    for service in services:
        for port in service.spec.ports:
            target = port.target_port if port.target_port is not None else port.port
            number = named.get(target, 0) if isinstance(target, str) else target
            if port.protocol == "TCP" and number:
                name = f"{service.namespace}/{service.name}:{port.port}"
                spoken = protocol(port.app_protocol) or ("HTTP" if name in obeying else "")
                said.setdefault(number, set()).add(spoken)
    return tuple(
        msgspec.structs.replace(
            declared.get(number) or WorkloadPort(port=number, dialled=number, application=number),
            protocol=_agreed(said[number]),
        )
        for number in sorted(said)
    )


def _agreed(said: set[str]) -> Spoken:
    return "HTTP" if "HTTP" in said else "TCP" if said == {"TCP"} else ""


def weight(labels: Mapping[str, str]) -> int:
    """Its part of the load, 0 to MOST_WEIGHT; 1 where nothing is said, or nothing that means something."""
    said = labels.get(WEIGHT, "")
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 4 and int(said) <= MOST_WEIGHT else 1
