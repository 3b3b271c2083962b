"""Who runs: everything that can serve a Service's port, and what each sidecar listens on.

`Replica`, `PodReplica` and `WayIn` are told by whoever knows what runs (`local`, `watch`); `compile.workloads` joins
them with what users wrote and makes `MeshWorkload`s and `MeshGateway`s, which `compile.project` turns into snapshots.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One started process of a LocalProcess and its sidecar. `uid` changes when it is started anew."""

    namespace: str
    name: str  # the LocalProcess's
    index: int = 0
    uid: str
    service_account: str = ""  # whose certificate its sidecar has: what the LocalProcess said when it was started
    address: str = "127.0.0.1"
    inbound: int  # the sidecar's listener in front of the application: what other proxies dial
    application: int  # where the application itself listens: PORT
    outbound: int  # where the sidecar is an HTTP proxy for the application
    ready: bool = True

    @property
    def id(self) -> str:
        """What names its snapshot: discovery's client, `MeshWorkload.id`."""
        return identity("LocalProcess", self.namespace, self.name, self.index)


class PodReplica(msgspec.Struct, frozen=True, kw_only=True):
    """One pod with a sidecar of ours, as `watch` sees it. Its id is its uid: another of its name inherits nothing."""

    namespace: str
    name: str
    uid: str
    addresses: tuple[str, ...]
    ports: tuple[WorkloadPort, ...] = ()  # what its containers declare; a Service may select others by number
    labels: dict[str, str] = {}
    service_account: str = "default"
    zone: str = ""
    ready: bool = True
    terminating: bool = False
    outbound: int = 15001  # the sidecar's listener for what the pod's containers send
    inbound: int = 15006  # the sidecar's listener for what comes to the pod, whatever its port
    direct: tuple[int, ...] = ()  # ports of the pod that callers reach past the sidecar
    trusted_hops: int = 0  # proxies in front of it whose X-Forwarded-For is believed
    proxy_protocol: tuple[int, ...] = ()  # ports of the pod whose callers begin with a PROXY protocol header

    @property
    def id(self) -> str:
        """What names its snapshot: discovery's client, `MeshWorkload.id`."""
        return self.uid


class WayIn(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy through which callers outside the mesh come: `<service>.<namespace>.<domain>` on one address."""

    name: str = "way-in"
    address: str = "127.0.0.1"
    port: int
    domain: str = "localhost"

    @property
    def id(self) -> str:
        """What names its snapshot."""
        return f"Gateway/{self.name}"


class WorkloadPort(msgspec.Struct, frozen=True, kw_only=True):
    """A port that Services can select. `dialled` is what others connect to, `application` what is behind a sidecar."""

    port: int = 0  # what a numeric targetPort names; 0: every number means this port
    name: str = ""
    dialled: int
    application: int = 0
    protocol: Literal["", "HTTP", "TCP"] = ""  # what comes there; "": told by the first bytes
    policy: str = ""  # name of the MeshPolicy that callers must meet; "": none


class MeshWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """Something with labels that answers at addresses. `outbound` is 0 where no sidecar of ours runs."""

    id: str
    kind: str
    namespace: str
    name: str
    uid: str
    generation: int = 0
    labels: dict[str, str] = {}
    service_account: str = ""
    service: str = ""  # the Service that owns it, for telemetry; "" when none selects it
    addresses: tuple[str, ...] = ()
    ports: tuple[WorkloadPort, ...] = ()
    outbound: int = 0
    inbound: int = 0  # pods only: the one listener to which everything that comes to the pod is redirected
    direct: tuple[int, ...] = ()  # pods only: ports that are reached past it
    trusted_hops: int = 0
    proxy_protocol: tuple[int, ...] = ()  # ports of the pod; of local mode, where there is one: any
    zone: str = ""
    ready: bool = True
    terminating: bool = False
    last_resort: bool = False  # it terminates, and endpoints name it as ready still: there is nobody else
    policy: str = ""  # pods only: the same for ports that nobody declared

    @property
    def lazy(self) -> bool:
        """Does it get its own namespace alone, and the rest of the mesh when it asks? A pod's traffic is redirected."""
        return bool(self.inbound)


class MeshGateway(msgspec.Struct, frozen=True, kw_only=True):
    """A way in, as meant."""

    id: str
    name: str
    address: str
    port: int
    domain: str


def identity(kind: str, namespace: str, name: str, index: int | None = None) -> str:
    """A workload's id: kind, namespace, name and, where there are several, which."""
    base = f"{kind}/{namespace}/{name}"
    return base if index is None else f"{base}/{index}"
