"""A budget lets through the minimum and the share, no more, over any stretch of time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.resilience.budget import Budget
from sidewinder_sidecar.snapshot.upstreams import BudgetSpec


def count(budget, now, requests=1):
    if now >= budget.edge:
        budget.advance(now)
    budget.current += requests


def test_the_share_of_what_was_asked():
    budget = Budget(BudgetSpec(percent=20, interval=10.0, min_count=0), 100.0)
    count(budget, 100.0, 100)
    assert sum(budget.withdraw(100.5) for _ in range(100)) == 20
    count(budget, 105.0, 100)
    assert sum(budget.withdraw(105.0) for _ in range(100)) == 20


def test_what_left_the_interval_counts_no_more():
    budget = Budget(BudgetSpec(percent=20, interval=10.0, min_count=0), 100.0)
    count(budget, 100.0, 1000)
    assert budget.withdraw(100.0)
    assert not budget.withdraw(112.0)
    assert (budget.requests(), budget.retries()) == (0, 0)


def test_a_few_in_any_case():
    budget = Budget(BudgetSpec(percent=0, min_count=10, min_interval=1.0), 100.0)
    assert sum(budget.withdraw(100.0) for _ in range(50)) == 10
    assert sum(budget.withdraw(100.5) for _ in range(50)) == 5
    assert sum(budget.withdraw(200.0) for _ in range(50)) == 10


def test_nothing_at_all():
    budget = Budget(BudgetSpec(percent=0, min_count=0), 100.0)
    count(budget, 100.0, 1000)
    assert not budget.withdraw(100.0)


def test_somebody_else_s_retry_is_charged_as_one():
    budget = Budget(BudgetSpec(percent=20, interval=10.0, min_count=0), 100.0)
    count(budget, 100.0, 10)
    charged = []
    for _ in range(3):
        count(budget, 100.0)
        charged.append(budget.charge(100.0))
    assert charged == [True, True, False]
    assert (budget.requests(), budget.retries()) == (10, 2)


def test_other_numbers_keep_what_was_counted():
    budget = Budget(BudgetSpec(percent=0, min_count=0), 100.0)
    count(budget, 100.0, 100)
    budget.renew(BudgetSpec(percent=50, min_count=0), 101.0)
    assert sum(budget.withdraw(101.0) for _ in range(100)) == 50
    assert repr(budget) == "<Budget 50 retries of 100 requests>"


@given(
    st.integers(0, 100),
    st.integers(0, 5),
    st.lists(st.tuples(st.floats(0, 3), st.integers(0, 50), st.integers(0, 30)), max_size=40),
)
def test_never_more_than_share_and_minimum_together(percent, minimum, steps):
    spec = BudgetSpec(percent=percent, interval=10.0, min_count=minimum, min_interval=1.0)
    now = begun = 1000.0
    budget = Budget(spec, now)
    requests = granted = 0
    for wait, asked, failed in steps:
        now += wait
        count(budget, now, asked)
        requests += asked
        granted += sum(budget.withdraw(now) for _ in range(failed))
        assert granted <= percent / 100 * requests + minimum * (1 + now - begun) + 1e-6
        assert len(budget._past) <= 12


@pytest.mark.parametrize("seconds", [0.0, 1.0, 9.0])
def test_memory_does_not_grow_with_traffic(seconds):
    budget = Budget(BudgetSpec(), 100.0)
    for turn in range(10_000):
        count(budget, 100.0 + seconds * turn)
        budget.withdraw(100.0 + seconds * turn)
    assert len(budget._past) <= 12
