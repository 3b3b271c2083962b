"""Each endpoint as often as its weight says in every cycle, and evenly spread within."""

from __future__ import annotations

import itertools
from collections import Counter
from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.upstream.balance.round_robin import RoundRobinBalancer, neighbour, stride
from tests.support.memory import endpoints


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12))
def test_every_cycle_is_exact(weights):
    made = endpoints(*weights)
    balancer = RoundRobinBalancer(made)
    cycle = sum(weights) // gcd(*weights)
    for _ in range(3):
        counts = Counter(balancer.pick() for _ in range(cycle))
        assert [counts[one] for one in made] == [weight // gcd(*weights) for weight in weights]


@pytest.mark.parametrize("weights", [(5, 1, 1), (90, 10), (50, 30, 20), (100, 1), (7,) * 10])
def test_the_picks_of_one_endpoint_are_spread(weights):
    made = endpoints(*weights)
    balancer = RoundRobinBalancer(made)
    total = sum(weights)
    picks = [balancer.pick() for _ in range(3 * total)]
    for one, weight in zip(made, weights, strict=True):
        at = [number for number, pick in enumerate(picks) if pick is one]
        gaps = [after - before for before, after in itertools.pairwise(at)]
        # three-distance theorem: never further apart than a small multiple of the mean
        assert max(gaps) <= 3 * total / weight + 1


def test_a_random_start_so_that_proxies_do_not_march_in_step():
    made = endpoints(*[1] * 50)
    assert len({RoundRobinBalancer(made).pick() for _ in range(200)}) > 20


@given(st.integers(1, 5000))
def test_a_stride_visits_every_place(places):
    assert gcd(stride(places), places) == 1


def test_a_failed_one_is_avoided_while_there_are_others():
    made = endpoints(3, 1, 1)
    balancer = RoundRobinBalancer(made)
    assert all(balancer.pick([made[0]]) is not made[0] for _ in range(50))
    assert all(balancer.pick(made[:2]) is made[2] for _ in range(50))
    assert balancer.pick(made) in made
    assert neighbour(made, 0, made) is made[0]


def test_ten_thousand_endpoints_are_one_cycle():
    made = endpoints(*[1] * 10_000)
    balancer = RoundRobinBalancer(made)
    assert len({balancer.pick() for _ in range(10_000)}) == 10_000
    assert "10000" in repr(balancer)
