"""Section `adaptiveConcurrency`: times become seconds. `policies` asks for what is sent."""

from __future__ import annotations

from sidewinder_operator.compile.sections import Built, Row, read_spec
from sidewinder_operator.mesh.adaptive_concurrency import MeshAdaptiveConcurrency
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.adaptive_concurrency import AdaptiveConcurrency
from sidewinder_operator.resources.quantity import seconds
from sidewinder_sidecar.snapshot.policies import AdaptiveConcurrencySpec


def build(written: AdaptiveConcurrency, _cluster: Cluster, _namespace: str) -> Built:
    """The section as meant; nothing needs another object."""
    meant = MeshAdaptiveConcurrency(
        target_latency=seconds(written.target_latency),
        priority_header=(written.priority_header or "").lower(),
        least=written.min_concurrency,
        most=written.max_concurrency,
    )
    return meant, ()


def spec(section: MeshAdaptiveConcurrency, policy: str) -> AdaptiveConcurrencySpec:
    """As sent."""
    return AdaptiveConcurrencySpec(
        policy=policy,
        target=section.target,
        target_latency=section.target_latency,
        priority_header=section.priority_header,
        least=section.least,
        most=section.most,
    )


ROW = Row("adaptiveConcurrency", AdaptiveConcurrency, read_spec("adaptiveConcurrency"), build)
