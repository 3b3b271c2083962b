"""retryConstraint: times become seconds, and what is not written has the section's defaults."""

from __future__ import annotations

from sidewinder_operator.compile.retry_constraint import ROW, build
from sidewinder_operator.mesh.retry_constraint import MeshRetryConstraint
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.retry_constraint import RetryBudget, RetryConstraint, RetryRate
from sidewinder_sidecar.snapshot.upstreams import BudgetSpec


def test_times_become_seconds() -> None:
    written = RetryConstraint(
        budget=RetryBudget(percent=7, interval="1m30s"), min_retry_rate=RetryRate(count=3, interval="1500ms")
    )
    meant, faults = build(written, Cluster(), "shop")
    assert meant == MeshRetryConstraint(percent=7, interval=90.0, min_count=3, min_interval=1.5)
    assert faults == ()


def test_an_empty_section_means_what_no_section_means() -> None:
    meant, _ = build(RetryConstraint(), Cluster(), "shop")
    assert (meant.percent, meant.interval, meant.min_count, meant.min_interval) == (
        BudgetSpec().percent,
        BudgetSpec().interval,
        BudgetSpec().min_count,
        BudgetSpec().min_interval,
    )


def test_it_acts_in_the_callers_proxy() -> None:
    assert ROW.client
