"""What holds for the whole proxy: who it is to others, and what is told. Resource name: `proxy/self`."""

from __future__ import annotations

import msgspec


class ProxySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One per snapshot. `cluster_domain` is the suffix of Service names, `namespace` the workload's own."""

    name: str  # the workload's name in spans and logs: "productpage-v1"
    namespace: str
    service: str = ""  # service.name of OpenTelemetry: the Service that owns the workload, else its name
    labels: dict[str, str] = {}
    zone: str = ""  # where it runs, for policies that prefer endpoints near it; "": nobody knows
    cluster_domain: str = "cluster.local"
    trust_domain: str = "cluster.local"  # of SPIFFE IDs: who has one of another is no service account of this mesh
    trace_percent: float = 1.0  # of root traces; a parent's decision is followed
    lazy: bool = False  # the snapshot holds its own namespace and what was wanted: an unknown `ip:port` is asked for
    terminating: bool = False  # the pod is being deleted: the drain begins
    last_resort: bool = False  # and still it is called: of a Service that it answers for, nobody is ready
