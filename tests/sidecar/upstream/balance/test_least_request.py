"""Power of two choices: the loads even out, the shares without load are the weights, the failed are avoided."""

from __future__ import annotations

from collections import Counter

import pytest

from sidewinder_sidecar.upstream.balance.least_request import LeastRequestBalancer
from tests.support.memory import endpoints


def test_one_endpoint_needs_no_choice():
    made = endpoints(1)
    assert LeastRequestBalancer(made).pick() is made[0]
    assert LeastRequestBalancer(made).pick(made) is made[0]


def test_of_two_the_one_with_less_in_flight():
    made = endpoints(1, 1)
    made[0].active = 5
    balancer = LeastRequestBalancer(made)
    assert all(balancer.pick() is made[1] for _ in range(100))


def test_balls_into_bins():
    """10 000 balls into 100 bins: one choice leaves a bin 30 above the mean, two choices 5 (log log n)."""
    made = endpoints(*[1] * 100)
    balancer = LeastRequestBalancer(made)
    for _ in range(10_000):
        balancer.pick().active += 1
    loads = [one.active for one in made]
    assert max(loads) - 100 <= 8
    assert 100 - min(loads) <= 15


@pytest.mark.parametrize("weights", [(1, 1, 1), (3, 1), (5, 3, 2)])
def test_without_load_the_shares_are_the_weights(weights):
    made = endpoints(*weights)
    balancer = LeastRequestBalancer(made)
    counts = Counter(balancer.pick() for _ in range(20_000))
    for one, weight in zip(made, weights, strict=True):
        assert counts[one] / 20_000 == pytest.approx(weight / sum(weights), abs=0.025)


def test_load_counts_by_weight():
    made = endpoints(4, 1)
    made[0].active, made[1].active = 7, 2  # 1.75 against 2 per weight
    balancer = LeastRequestBalancer(made)
    counts = Counter(balancer.pick() for _ in range(1000))
    assert counts[made[0]] > 900


def test_those_that_failed_are_avoided_while_there_are_others():
    made = endpoints(1, 1, 1, 1)
    balancer = LeastRequestBalancer(made)
    assert all(balancer.pick([made[0]]) is not made[0] for _ in range(200))
    assert all(balancer.pick(made[:3]) is made[3] for _ in range(200))
    assert balancer.pick(made) in made
    assert repr(balancer) == "<LeastRequest of 4>"
