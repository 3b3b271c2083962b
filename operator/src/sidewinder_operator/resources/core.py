"""The kinds of Kubernetes that matter here, as Kubernetes writes them. Fields not named here are passed over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, holds
from sidewinder_operator.resources.meta import Named, ObjectMeta, Tolerant

PortNumber: TypeAlias = Annotated[int, Meta(ge=1, le=65535, extra={"right": "a port number from 1 to 65535"})]
SERVICE_NAME = "kubernetes.io/service-name"
Protocol: TypeAlias = Literal["TCP", "UDP", "SCTP"]


class Namespace(Tolerant, Named, frozen=True, kw_only=True):
    """A namespace: its labels."""

    KIND: ClassVar[str] = "Namespace"
    API_VERSION: ClassVar[str] = "v1"
    SCOPED: ClassVar[bool] = False

    metadata: ObjectMeta


class ServicePort(Tolerant, frozen=True, kw_only=True):
    """A port of a Service; without `target_port` pods listen on `port`."""

    name: str = ""
    port: PortNumber
    target_port: PortNumber | Annotated[str, Meta(min_length=1, max_length=63)] | None = None
    protocol: Protocol = "TCP"
    app_protocol: str = ""


def _named(spec: Any) -> Iterator[str]:
    if len(spec.ports) > 1:
        seen = {""}
        for index, port in enumerate(spec.ports):
            if port.name in seen:
                yield f"ports[{index}].name"
            seen.add(port.name)


class ServiceSpec(Tolerant, frozen=True, kw_only=True):
    """Who is selected, and by which ports."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    selector: dict[str, str] = msgspec.field(default_factory=dict)
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    cluster_ips: tuple[str, ...] = msgspec.field(name="clusterIPs", default=())
    external_name: str = ""
    external_ips: tuple[str, ...] = msgspec.field(name="externalIPs", default=())
    publish_not_ready_addresses: bool = False

    RULES: ClassVar[tuple[Rule, ...]] = (Rule(_named, "of several ports each needs a name of its own"),)


class LoadBalancerIngress(Tolerant, frozen=True, kw_only=True):
    """Where a load balancer takes connections; with a host name alone there is no address to know it by."""

    ip: str = ""


class LoadBalancerStatus(Tolerant, frozen=True, kw_only=True):
    """What the load balancer's controller has written."""

    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Tolerant, frozen=True, kw_only=True):
    """The part of a Service's status that callers can dial."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


def _labelled(service: Any) -> Iterator[str]:
    if len(service.metadata.name) > 63 or "." in service.metadata.name:
        yield "metadata.name"


class Service(Tolerant, Named, frozen=True, kw_only=True):
    """A name and the pods, processes and workloads behind it."""

    KIND: ClassVar[str] = "Service"
    API_VERSION: ClassVar[str] = "v1"

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(_labelled, "a Service's name is one DNS label: at most 63 characters, no dots"),
    )

    metadata: ObjectMeta
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class EndpointConditions(Tolerant, frozen=True, kw_only=True):
    """None means unknown, which Kubernetes reads as ready, and as not terminating."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class TargetReference(Tolerant, frozen=True, kw_only=True):
    """The pod behind an endpoint."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class Endpoint(Tolerant, frozen=True, kw_only=True):
    """One pod; all its addresses mean the same, and consumers use the first."""

    addresses: Annotated[tuple[str, ...], Meta(min_length=1, max_length=100)]
    conditions: EndpointConditions = EndpointConditions()
    hostname: str = ""
    node_name: str = ""
    zone: str = ""
    target_ref: TargetReference | None = None


class EndpointPort(Tolerant, frozen=True, kw_only=True):
    """A port of all endpoints of the slice, by the Service port's name."""

    name: str = ""
    port: PortNumber | None = None
    protocol: Protocol = "TCP"
    app_protocol: str = ""


class EndpointSlice(Tolerant, Named, frozen=True, kw_only=True):
    """Some of the endpoints of the Service that the label `kubernetes.io/service-name` names."""

    KIND: ClassVar[str] = "EndpointSlice"
    API_VERSION: ClassVar[str] = "discovery.k8s.io/v1"

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: bool(self.metadata.labels.get(SERVICE_NAME)),
            f"the label {SERVICE_NAME} must name the Service",
            field="metadata.labels",
            reason="Required",
        ),
    )

    metadata: ObjectMeta
    address_type: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Secret(Tolerant, Named, frozen=True, kw_only=True):
    """Values that no log and no traceback may show. `stringData` is what a person writes instead of base64."""

    KIND: ClassVar[str] = "Secret"
    API_VERSION: ClassVar[str] = "v1"

    metadata: ObjectMeta
    type: str = "Opaque"
    data: dict[str, bytes] = msgspec.field(default_factory=dict)
    string_data: dict[str, str] = msgspec.field(default_factory=dict)

    def value(self, key: str) -> bytes | None:
        """The value under `key`; what stands in stringData wins, as in Kubernetes."""
        text = self.string_data.get(key)
        return self.data.get(key) if text is None else text.encode()

    def __repr__(self) -> str:
        return f"Secret({self.namespace}/{self.name}, keys={sorted({*self.data, *self.string_data})}, [redacted])"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("name", f"{self.namespace}/{self.name}"), ("data", "[redacted]")]


class ConfigMap(Tolerant, Named, frozen=True, kw_only=True):
    """Texts by key."""

    KIND: ClassVar[str] = "ConfigMap"
    API_VERSION: ClassVar[str] = "v1"

    metadata: ObjectMeta
    data: dict[str, str] = msgspec.field(default_factory=dict)
    binary_data: dict[str, bytes] = msgspec.field(default_factory=dict)
