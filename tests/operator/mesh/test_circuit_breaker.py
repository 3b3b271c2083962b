"""circuitBreaker, as meant, says all that a sidecar's breaker needs and nothing else."""

from __future__ import annotations

from sidewinder_operator.mesh.circuit_breaker import MeshCircuitBreaker, MeshFailureRate
from sidewinder_sidecar.snapshot.upstreams import BreakerSpec, FailureRateSpec


def test_it_has_the_fields_of_the_spec() -> None:
    assert MeshCircuitBreaker.__struct_fields__ == BreakerSpec.__struct_fields__
    assert MeshFailureRate.__struct_fields__ == FailureRateSpec.__struct_fields__
