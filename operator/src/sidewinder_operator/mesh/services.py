"""What can be called: Services, their ports, who answers there, and how a caller's proxy treats them.

Made by `compile.services` (and `compile.routes` for the variants of backends); read by `compile.project`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from sidewinder_operator.mesh.circuit_breaker import MeshCircuitBreaker
from sidewinder_operator.mesh.concurrency import MeshConcurrency
from sidewinder_operator.mesh.health_check import MeshHealthCheck
from sidewinder_operator.mesh.load_balancing import MeshLoadBalancing
from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.mesh.retry_constraint import MeshRetryConstraint

Spoken = Literal["", "HTTP", "TCP"]  # "": told by the first bytes


class MeshEndpoint(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One address that answers; sorted by (uid, address, port), which no two of a port share."""

    uid: str
    address: str
    port: int
    weight: int = 1
    zone: str = ""
    ready: bool = True
    labels: dict[str, str] = {}
    healthy: bool = True  # what most of its probers say; True where there are none, or none has said anything
    identity: str = ""  # the SPIFFE ID of the sidecar there; "": there is none, or this port goes past it


class MeshBackend(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How one port of one Service is called: the client sections that hold there. None: the sidecar's default.

    A route or rule with client sections of its own calls a variant, `<port's name>@<route>[/<rule>]`.
    """

    name: str  # "bookinfo/reviews:9080"
    service: str  # "bookinfo/reviews"
    endpoints: str  # the MeshPort's name
    load_balancing: MeshLoadBalancing | None = None
    retry_constraint: MeshRetryConstraint | None = None
    circuit_breaker: MeshCircuitBreaker | None = None
    concurrency: MeshConcurrency | None = None
    health_check: MeshHealthCheck | None = None
    origins: tuple[Origin, ...] = ()


class MeshPort(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One port of a Service. `producers` and `consumers` are routes in the Gateway API's order of precedence.

    Callers of namespace N see `consumers[N]` where there is one, else `producers`.
    """

    name: str  # "bookinfo/reviews:9080"
    port: int
    label: str = ""  # the port's name in the Service
    protocol: Spoken = ""  # as appProtocol says
    judged: bool = False  # a section that only HTTP can obey is attached to it: whoever calls it speaks HTTP
    endpoints: tuple[MeshEndpoint, ...] = ()
    producers: tuple[str, ...] = ()
    consumers: dict[str, tuple[str, ...]] = {}

    def routes(self, namespace: str) -> tuple[str, ...]:
        """The routes that hold for callers in `namespace` ("": callers outside the mesh)."""
        return self.consumers.get(namespace, self.producers)

    def spoken(self, namespace: str) -> Spoken:
        """What callers in `namespace` speak. A policy for HTTP cannot be gone around, but by appProtocol."""
        return self.protocol or ("HTTP" if self.judged or self.routes(namespace) else "")


class MeshService(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A Service and its ports, in the order written. Of a headless one each pod is called by its own address."""

    namespace: str
    name: str
    ports: tuple[MeshPort, ...] = ()
    addresses: tuple[str, ...] = ()  # sorted IP literals: ClusterIPs, load balancers' and external ones
    headless: bool = False
    external: str = ""  # ExternalName: the host outside that its name stands for
    origin: Origin
