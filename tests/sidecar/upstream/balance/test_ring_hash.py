"""Points are an endpoint's own: shares are the weights, and what changes moves its own keys and no others."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.snapshot.upstreams import RingHash
from sidewinder_sidecar.upstream.balance.hashed import hashed
from sidewinder_sidecar.upstream.balance.ring_hash import drawn, points_of, prepare
from tests.support.examples import examples
from tests.support.memory import endpoints

KEYS = [hashed(b"user-%d" % number) for number in range(5000)]


def ring(made, **options):
    steps = prepare(RingHash(**options), made, [one.weight for one in made])
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value


@pytest.mark.parametrize(
    ("weights", "options", "points"),
    [
        ([1], {}, [1024]),
        ([1] * 3, {}, [512] * 3),  # the least power of two that makes a thousand
        ([1] * 100, {}, [128] * 100),
        ([1] * 10_000, {}, [16] * 10_000),  # as many as fit
        ([4, 2], {}, [1024, 512]),
        ([1, 1], {"min_size": 1}, [128, 128]),
        ([1] * 8, {"min_size": 8, "max_size": 16}, [2] * 8),
        ([30, 10, 1], {"min_size": 1, "max_size": 8}, [5, 1, 1]),
    ],
    ids=lambda value: None if isinstance(value, list) else repr(value),
)
def test_how_many_points_each_has(weights, options, points):
    assert points_of(RingHash(**options), weights) == points


def test_more_points_leave_the_first_where_they_are():
    few = [point for some in drawn(b"a", 5) for point in some]
    many = [point for some in drawn(b"a", 20) for point in some]
    assert (len(few), len(many)) == (5, 20)
    assert many[:5] == few
    assert len(set(many)) == 20


def test_points_are_in_order_and_the_first_follows_the_last():
    made = endpoints(1, 1, 1)
    one = ring(made)
    assert list(one._points) == sorted(one._points)
    assert len(one._points) == len(one._places) == 1536
    assert one.pick((), (1 << 60) - 1) is one._endpoints[one._places[0]]
    assert repr(one) == "<RingHash of 3/3, 1536 points>"


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (3, 2, 1)], ids=str)
def test_shares_are_the_weights_within_three_deviations(weights):
    """A share of k points differs from its mean by a k-th root: 1/√512 for these."""
    made = endpoints(*weights)
    balancer = ring(made, min_size=4096)
    counts = Counter(balancer.pick((), key) for key in KEYS)
    for one, weight in zip(made, weights, strict=True):
        assert counts[one] / len(KEYS) == pytest.approx(weight / sum(weights), rel=0.17)


@given(st.integers(9, 15), st.integers(0, 14))
@examples(25)
def test_who_is_added_takes_its_share_and_no_other_key_moves(count, place):
    made = endpoints(*[1] * count)
    new = made[place % count]
    without = ring([one for one in made if one is not new])
    before = [without.pick((), key) for key in KEYS[:1000]]
    whole = ring(made)
    after = [whole.pick((), key) for key in KEYS[:1000]]
    moved = [now for now, then in zip(after, before, strict=True) if now is not then]
    assert set(moved) <= {new}
    assert len(moved) / 1000 <= 1 / count + 0.06  # 9 % of its share, and the spread of a thousand keys


def test_ten_thousand_endpoints_share_a_bounded_ring():
    made = endpoints(*[1] * 10_000)
    one = ring(made)
    assert len(one._points) == 160_000
    assert one._points.itemsize + one._places.itemsize == 10  # bytes a point
    assert len({one.pick((), key) for key in KEYS}) > 3000
