"""circuitBreaker: defaults, and what cannot be meant."""

from __future__ import annotations

from typing import Any

import pytest

from sidewinder_operator.resources.read import read
from tests.support.refusals import policy


def test_an_empty_section_is_enough() -> None:
    found = read(policy(circuitBreaker={})).found
    assert found is not None
    section = found.spec.circuit_breaker  # type: ignore[union-attr]
    assert (section.consecutive_failures, section.open_duration, section.failure_rate) == (5, "5s", None)


@pytest.mark.parametrize(
    ("section", "field"),
    [
        pytest.param({"openDuration": "10m"}, "spec.circuitBreaker.maxOpenDuration", id="the longest is shorter"),
        pytest.param({"consecutiveFailures": 0}, "spec.circuitBreaker.consecutiveFailures", id="nothing ejects"),
        pytest.param({"codes": [], "conditions": []}, "spec.circuitBreaker.codes", id="nothing is a failure"),
        pytest.param({"openDuration": "1ms"}, "spec.circuitBreaker.openDuration", id="no time at all"),
        pytest.param({"maxEjectedPercent": 101}, "spec.circuitBreaker.maxEjectedPercent", id="more than all"),
        pytest.param({"conditions": ["Bad"]}, "spec.circuitBreaker.conditions[0]", id="an unknown condition"),
        pytest.param(
            {"failureRate": {"interval": "0s"}}, "spec.circuitBreaker.failureRate.interval", id="an empty window"
        ),
    ],
)
def test_what_is_refused(section: dict[str, Any], field: str) -> None:
    assert [problem.field for problem in read(policy(circuitBreaker=section)).problems] == [field]


def test_a_rate_alone_is_enough() -> None:
    assert not read(policy(circuitBreaker={"consecutiveFailures": 0, "failureRate": {}})).problems


@pytest.mark.parametrize("section", [{"codes": []}, {"conditions": []}])
def test_one_kind_of_failure_is_enough(section: dict[str, Any]) -> None:
    assert not read(policy(circuitBreaker=section)).problems
