"""retryConstraint, as meant, says all that a sidecar's budget needs and nothing else."""

from __future__ import annotations

from sidewinder_operator.mesh.retry_constraint import MeshRetryConstraint
from sidewinder_sidecar.snapshot.upstreams import BudgetSpec


def test_it_has_the_fields_of_the_budget() -> None:
    assert MeshRetryConstraint.__struct_fields__ == BudgetSpec.__struct_fields__
