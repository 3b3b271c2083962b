"""retryConstraint: the Gateway API's defaults."""

from __future__ import annotations

import msgspec

from sidewinder_operator.resources.retry_constraint import RetryBudget, RetryConstraint, RetryRate


def test_defaults() -> None:
    found = msgspec.convert({}, RetryConstraint)
    assert found.budget == RetryBudget(percent=20, interval="10s")
    assert found.min_retry_rate == RetryRate(count=10, interval="1s")
    assert msgspec.convert({"budget": {"percent": 5}}, RetryConstraint).budget.interval == "10s"
