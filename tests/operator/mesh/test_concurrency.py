"""concurrency, as meant, says all that a sidecar's limits need and nothing else."""

from __future__ import annotations

from sidewinder_operator.mesh.concurrency import MeshConcurrency, MeshLimits
from sidewinder_sidecar.snapshot.upstreams import ConcurrencySpec, LimitsSpec


def test_it_has_the_fields_of_the_spec() -> None:
    assert MeshConcurrency.__struct_fields__ == ConcurrencySpec.__struct_fields__
    assert MeshLimits.__struct_fields__ == LimitsSpec.__struct_fields__
