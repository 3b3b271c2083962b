"""What is kept of an object: JSON of the API server in, a slim frozen record out, or None for what nobody needs.

Called by the reflectors for every object and every change of it, so that it must be cheap, and never raises for what
stands in an object. Equal records mean that nothing of interest has changed: statuses, resourceVersions, managed fields
and annotations that only Kubernetes reads are left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from sidewinder_operator.compile import in_front
from sidewinder_operator.compile.workloads import ZONE
from sidewinder_operator.compile.wreck import Wreck, salvage
from sidewinder_operator.mesh.workloads import PodReplica, WorkloadPort
from sidewinder_operator.problems import Problem, Reference
from sidewinder_operator.resources import Object
from sidewinder_operator.resources.meta import Named
from sidewinder_operator.resources.policy import ApiPolicy
from sidewinder_operator.resources.read import read

log = logging.getLogger("sidewinder.watch")

SIDECAR = "sidewinder-proxy"  # the container that injection adds, to initContainers with restartPolicy Always
CAPTURE = "sidewinder-capture"  # the one before it, which redirects; its command says which ports it leaves alone
DIRECT = "--skip-inbound-ports="
INJECT = "sidewinder.dev/inject"  # of a namespace: enabled; of a pod that wants none: disabled
_ENDED = frozenset({"Succeeded", "Failed"})  # a pod in one of these phases runs nothing any more


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """An object that `compile` reads, or why it cannot be read and what is legible of it."""

    reference: Reference
    uid: str
    generation: int
    found: Object | None
    problems: tuple[Problem, ...] = ()
    wreck: Wreck | None = None


class Pod(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A pod that runs or is about to. Of one without a sidecar of ours no ports, and of its labels only INJECT."""

    namespace: str
    name: str
    uid: str
    node: str = ""
    service_account: str = ""
    sidecar: bool = False
    host_network: bool = False
    addresses: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    ports: tuple[WorkloadPort, ...] = ()
    direct: tuple[int, ...] = ()
    trusted_hops: int = 0
    proxy_protocol: tuple[int, ...] = ()
    ready: bool = False
    terminating: bool = False

    def replica(self, zone: str) -> PodReplica:
        """What compile is told. `zone`: where its node is, for pods that do not say so by a label."""
        return PodReplica(
            namespace=self.namespace,
            name=self.name,
            uid=self.uid,
            addresses=self.addresses,
            ports=self.ports,
            direct=self.direct,
            trusted_hops=self.trusted_hops,
            proxy_protocol=self.proxy_protocol,
            labels=self.labels,
            service_account=self.service_account,
            zone=self.labels.get(ZONE, zone),
            ready=self.ready,
            terminating=self.terminating,
        )


def written(kind: type[Named]) -> Callable[[bytes], Written]:
    """How an object of this kind is read; a list leaves out what all its items have in common, so it is added."""

    def keep(raw: bytes) -> Written:
        data = msgspec.json.decode(raw)
        data |= {"apiVersion": kind.API_VERSION, "kind": kind.KIND}
        metadata: dict[str, Any] = data["metadata"]
        if (annotations := metadata.get("annotations")) is not None:
            metadata["annotations"] = {name: text for name, text in annotations.items() if name not in _NOT_OURS}
        reading = read(data)
        return Written(
            reference=reading.reference,
            uid=metadata.get("uid", ""),
            generation=metadata.get("generation", 0),
            found=reading.found,
            problems=tuple(reading.problems),
            wreck=salvage(reading.reference, data) if reading.found is None and kind is ApiPolicy else None,
        )

    return keep


# What changes with every apply or every endpoint and means nothing here.
_NOT_OURS = frozenset({
    "kubectl.kubernetes.io/last-applied-configuration",
    "endpoints.kubernetes.io/last-change-trigger-time",
})  # fmt: skip


class _ContainerPort(msgspec.Struct, rename="camel"):
    container_port: int
    name: str = ""
    protocol: str = "TCP"


class _Container(msgspec.Struct, rename="camel"):
    name: str
    ports: list[_ContainerPort] | None = None


class _InitContainer(msgspec.Struct, rename="camel"):
    name: str
    restart_policy: str = ""
    command: list[str] | None = None


class _PodSpec(msgspec.Struct, rename="camel"):
    containers: list[_Container]
    init_containers: list[_InitContainer] | None = None
    node_name: str = ""
    service_account_name: str = "default"
    host_network: bool = False


class _Condition(msgspec.Struct):
    type: str
    status: str


class _Address(msgspec.Struct):
    ip: str


class _PodStatus(msgspec.Struct, rename="camel"):
    phase: str = ""
    pod_ips: list[_Address] | None = msgspec.field(name="podIPs", default=None)
    conditions: list[_Condition] | None = None


class _PodMetadata(msgspec.Struct, rename="camel"):
    name: str
    namespace: str
    uid: str
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    deletion_timestamp: str = ""


class _Pod(msgspec.Struct):
    metadata: _PodMetadata
    spec: _PodSpec
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)


_pod = msgspec.json.Decoder(_Pod)


def pod(raw: bytes) -> Pod | None:
    """A pod's record; None for one that has ended."""
    try:
        found = _pod.decode(raw)
    except msgspec.DecodeError as fault:  # no API server sends this; if one does, the other pods still count
        log.error("a pod cannot be read and is passed over: %s", fault)
        return None
    metadata, spec, status = found.metadata, found.spec, found.status
    if status.phase in _ENDED:
        return None
    ours = any(each.name == SIDECAR and each.restart_policy == "Always" for each in spec.init_containers or ())
    return Pod(
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        node=spec.node_name,
        service_account=spec.service_account_name,
        sidecar=ours,
        host_network=spec.host_network,
        addresses=tuple(address.ip for address in status.pod_ips or ()),
        labels={name: text for name, text in (metadata.labels or {}).items() if ours or name == INJECT},
        ports=_ports(spec.containers) if ours else (),
        direct=_direct(spec.init_containers or ()) if ours else (),
        trusted_hops=in_front.hops(metadata.annotations or {}) if ours else 0,
        proxy_protocol=in_front.ports(metadata.annotations or {}) if ours else (),
        ready=any(each.type == "Ready" and each.status == "True" for each in status.conditions or ()),
        terminating=bool(metadata.deletion_timestamp),
    )


def _direct(containers: Iterable[_InitContainer]) -> tuple[int, ...]:
    """The ports that the pod's redirect rules leave alone: as it was injected, whatever its annotations say by now."""
    words = [word for each in containers if each.name == CAPTURE for word in each.command or ()]
    numbers = [text for word in words if word.startswith(DIRECT) for text in word.removeprefix(DIRECT).split(",")]
    return tuple(sorted({int(text) for text in numbers if text.isascii() and text.isdecimal()}))


def _ports(containers: list[_Container]) -> tuple[WorkloadPort, ...]:
    declared = {
        port.container_port: WorkloadPort(
            port=port.container_port, name=port.name, dialled=port.container_port, application=port.container_port
        )
        for container in containers
        for port in container.ports or ()
        if port.protocol == "TCP"
    }
    return tuple(declared[number] for number in sorted(declared))
