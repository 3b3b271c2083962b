"""circuitBreaker: times become seconds, sets are sorted, an empty section has the sidecar's defaults."""

from __future__ import annotations

from sidewinder_operator.compile.circuit_breaker import ROW, build, spec
from sidewinder_operator.mesh.circuit_breaker import MeshFailureRate
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.circuit_breaker import CircuitBreaker, FailureRate
from sidewinder_sidecar.snapshot.upstreams import BreakerSpec, FailureRateSpec


def test_an_empty_section_is_the_sidecars_default() -> None:
    meant, faults = build(CircuitBreaker(), Cluster(), "shop")
    assert spec(meant) == BreakerSpec()
    assert faults == ()
    assert spec(None) is None


def test_what_is_written_is_what_is_sent() -> None:
    written = CircuitBreaker(
        consecutive_failures=0,
        failure_rate=FailureRate(percent=7, interval="1m", min_requests=9),
        conditions=("Timeout", "Reset"),
        codes=(504, 429),
        open_duration="250ms",
        max_open_duration="1h",
        max_ejected_percent=10,
        min_healthy_percent=0,
    )
    meant, _ = build(written, Cluster(), "shop")
    assert meant.rate == MeshFailureRate(percent=7, interval=60.0, min_requests=9)
    assert spec(meant) == BreakerSpec(
        consecutive=0,
        rate=FailureRateSpec(percent=7, interval=60.0, min_requests=9),
        conditions=("Reset", "Timeout"),
        codes=(429, 504),
        open_seconds=0.25,
        max_open_seconds=3600.0,
        max_ejected_percent=10,
        min_healthy_percent=0,
    )


def test_it_acts_in_the_callers_proxy() -> None:
    assert ROW.client
