"""Section `concurrency`: what is not written is no limit; nothing needs another object."""

from __future__ import annotations

from sidewinder_operator.compile.sections import Built, Row, read_spec
from sidewinder_operator.mesh.concurrency import MeshConcurrency, MeshLimits
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.concurrency import Concurrency, EndpointConcurrency
from sidewinder_sidecar.snapshot.upstreams import ConcurrencySpec, LimitsSpec


def build(written: Concurrency, _cluster: Cluster, _namespace: str) -> Built:
    """The section as meant."""
    each = written.per_endpoint
    return MeshConcurrency(whole=_limits(written), endpoint=_limits(each) if each is not None else MeshLimits()), ()


def _limits(written: Concurrency | EndpointConcurrency) -> MeshLimits:
    return MeshLimits(
        requests=written.max_requests or 0,
        pending=written.max_pending or 0,
        connections=written.max_connections or 0,
    )


def spec(section: MeshConcurrency | None) -> ConcurrencySpec | None:
    """The section as sent."""
    if section is None:
        return None
    return ConcurrencySpec(whole=_sent(section.whole), endpoint=_sent(section.endpoint))


def _sent(limits: MeshLimits) -> LimitsSpec:
    return LimitsSpec(requests=limits.requests, pending=limits.pending, connections=limits.connections)


ROW = Row("concurrency", Concurrency, read_spec("concurrency"), build)
