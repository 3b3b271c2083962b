"""Section `retryConstraint`: times become seconds; nothing needs another object."""

from __future__ import annotations

from sidewinder_operator.compile.sections import Built, Row, read_spec
from sidewinder_operator.mesh.retry_constraint import MeshRetryConstraint
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.quantity import seconds
from sidewinder_operator.resources.retry_constraint import RetryConstraint


def build(written: RetryConstraint, _cluster: Cluster, _namespace: str) -> Built:
    """The section as meant."""
    budget, rate = written.budget, written.min_retry_rate
    meant = MeshRetryConstraint(
        percent=budget.percent,
        interval=seconds(budget.interval),
        min_count=rate.count,
        min_interval=seconds(rate.interval),
    )
    return meant, ()


ROW = Row("retryConstraint", RetryConstraint, read_spec("retryConstraint"), build)
