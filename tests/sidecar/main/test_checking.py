"""`/health-checks` and its metrics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sidewinder_sidecar.main import checking
from sidewinder_sidecar.snapshot.checks import CheckSpec, ChecksSpec, HttpCheckSpec
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
from sidewinder_sidecar.telemetry.metrics import Metrics
from sidewinder_sidecar.upstream.health import FAILED, Checks
from sidewinder_sidecar.wheel import Wheel
from tests.support.memory import Clock, Endpoint


def process() -> Any:
    clock = Clock()
    wheel = Wheel(clock, clock.later)
    checks = Checks(wheel, lambda spec, seconds: Endpoint(spec, wheel, [], []))
    endpoints = (EndpointSpec(uid="a", address="10.0.0.1", port=80), EndpointSpec(uid="b", address="10.0.0.2", port=80))
    check = CheckSpec(name="shop/web:80", http=HttpCheckSpec(path="/healthz"), endpoints=endpoints)
    checks.follow(ChecksSpec(checks=(check,)))
    bad = next(iter(checks.checks.values()))
    bad.why = "500 was answered"
    for _ in range(3):
        checks.settled(bad, FAILED)
    return SimpleNamespace(checks=checks, metrics=Metrics())


def test_the_page() -> None:
    told = checking.told(process())
    assert told == {
        "checks": [
            {
                "name": "shop/web:80",
                "address": "10.0.0.1:80",
                "verdict": "unhealthy",
                "in_a_row": 3,
                "why": "500 was answered",
            },
            {"name": "shop/web:80", "address": "10.0.0.2:80", "verdict": "unknown", "in_a_row": 0, "why": ""},
        ],
        "dropped": 0,
    }


def test_the_metrics() -> None:
    given = process()
    checking.gauges(given)
    text = "".join(given.metrics.render())
    assert 'sidewinder_health_checks_total{result="failed"} 3\n' in text
    assert 'sidewinder_health_check_endpoints{verdict="unhealthy"} 1\n' in text
    assert 'sidewinder_health_check_endpoints{verdict="unknown"} 1\n' in text
    assert 'sidewinder_health_check_endpoints{verdict="healthy"} 0\n' in text
