"""Section `circuitBreaker`: times become seconds, sets are sorted; nothing needs another object."""

from __future__ import annotations

from sidewinder_operator.compile.sections import Built, Row, read_spec
from sidewinder_operator.mesh.circuit_breaker import MeshCircuitBreaker, MeshFailureRate
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.circuit_breaker import CircuitBreaker, FailureRate
from sidewinder_operator.resources.quantity import seconds
from sidewinder_sidecar.snapshot.upstreams import BreakerSpec, FailureRateSpec


def build(written: CircuitBreaker, _cluster: Cluster, _namespace: str) -> Built:
    """The section as meant."""
    meant = MeshCircuitBreaker(
        consecutive=written.consecutive_failures,
        rate=_rate(written.failure_rate) if written.failure_rate is not None else None,
        conditions=tuple(sorted(written.conditions)),
        codes=tuple(sorted(written.codes)),
        open_seconds=seconds(written.open_duration),
        max_open_seconds=seconds(written.max_open_duration),
        max_ejected_percent=written.max_ejected_percent,
        min_healthy_percent=written.min_healthy_percent,
    )
    return meant, ()


def _rate(written: FailureRate) -> MeshFailureRate:
    return MeshFailureRate(
        percent=written.percent, interval=seconds(written.interval), min_requests=written.min_requests
    )


def spec(section: MeshCircuitBreaker | None) -> BreakerSpec | None:
    """The section as sent."""
    if section is None:
        return None
    rate = section.rate
    return BreakerSpec(
        consecutive=section.consecutive,
        rate=FailureRateSpec(percent=rate.percent, interval=rate.interval, min_requests=rate.min_requests)
        if rate is not None
        else None,
        conditions=section.conditions,
        codes=section.codes,
        open_seconds=section.open_seconds,
        max_open_seconds=section.max_open_seconds,
        max_ejected_percent=section.max_ejected_percent,
        min_healthy_percent=section.min_healthy_percent,
    )


ROW = Row("circuitBreaker", CircuitBreaker, read_spec("circuitBreaker"), build)
