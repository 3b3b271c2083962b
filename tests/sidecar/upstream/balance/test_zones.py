"""Shares by Envoy's formula for levels, and who is in which level."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.snapshot.upstreams import LocalitySpec
from sidewinder_sidecar.upstream.balance.random import RandomBalancer
from sidewinder_sidecar.upstream.balance.zones import ZonedBalancer, levels, shares
from tests.support.memory import endpoints


@pytest.mark.parametrize(
    ("healthy", "expected"),
    [
        ([1.0, 1.0], [1.0, 0.0]),
        ([0.72, 1.0], [1.0, 0.0]),  # Envoy's own table: 72 % healthy carries all, 71 % not quite
        ([0.71, 1.0], [0.994, 0.006]),
        ([0.50, 1.0], [0.7, 0.3]),
        ([0.25, 1.0], [0.35, 0.65]),
        ([0.25, 0.25], [0.5, 0.5]),  # together 70 %: shared out in proportion
        ([0.0, 1.0], [0.0, 1.0]),
        ([0.2, 0.2, 1.0], [0.28, 0.28, 0.44]),
        ([0.05, 0.0], [1.0, 0.0]),
    ],
    ids=str,
)
def test_shares(healthy, expected):
    assert shares(healthy) == pytest.approx(expected, abs=0.0005)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6).filter(lambda some: sum(some) > 0.01))
def test_shares_are_whole_and_only_where_somebody_is(healthy):
    found = shares(healthy)
    assert sum(found) == pytest.approx(1.0)
    assert all(share >= 0 for share in found)
    assert all(share < 1e-9 for share, one in zip(found, healthy, strict=True) if not one)


def zoned(zones):
    made = endpoints(*[1] * len(zones))
    for one, zone in zip(made, zones, strict=True):
        one.zone = zone
    return made


def test_own_zone_then_failover_in_order_then_the_rest():
    made = zoned("abcd")
    spec = LocalitySpec(failover=("c", "b", "a"))
    assert levels(spec, made, made, "a") == [([made[0]], 1.0)]
    assert levels(spec, made[1:], made, "a") == [([made[2]], 1.0)]
    assert levels(spec, [made[1], made[3]], made, "a") == [([made[1]], 1.0)]
    assert levels(spec, made[3:], made, "a") == [([made[3]], 1.0)]


@pytest.mark.parametrize("failover", [(), ("b", "a")])
def test_who_does_not_know_its_zone_prefers_nobody(failover):
    made = zoned(["", "a", "b"])
    assert levels(LocalitySpec(failover=failover), made[1:], made, "") == [(made[1:], 1.0)]


def test_half_of_the_zone_spills_over():
    made = zoned("aabb")
    parts = levels(LocalitySpec(), made[1:], made, "a")
    assert parts == [([made[1]], pytest.approx(0.7)), (made[2:], pytest.approx(0.3))]
    balancer = ZonedBalancer([(RandomBalancer(some), share) for some, share in parts])
    counts = Counter(balancer.pick() for _ in range(20_000))
    assert counts[made[1]] / 20_000 == pytest.approx(0.7, abs=0.015)
    assert all(balancer.pick([made[1]]) in made[2:] for _ in range(100))
    assert balancer.pick(made) in made
    assert "Random of 1" in repr(balancer)
