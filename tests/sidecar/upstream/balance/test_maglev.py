"""The table as the paper fills it: every place taken, shares even to one place, few keys moved beyond their own."""

from __future__ import annotations

from collections import Counter

import pytest

from sidewinder_sidecar.snapshot.upstreams import Maglev
from sidewinder_sidecar.upstream.balance.hashed import hashed
from sidewinder_sidecar.upstream.balance.maglev import is_prime, prepare
from tests.support.memory import endpoints

KEYS = [hashed(b"user-%d" % number) for number in range(5000)]


def table(made, size=65_537):
    steps = prepare(Maglev(table_size=size), made, [one.weight for one in made])
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value


@pytest.mark.parametrize(("count", "size"), [(1, 251), (3, 251), (100, 65_537), (1000, 65_537)])
def test_all_places_are_taken_and_evenly(count, size):
    one = table(endpoints(*[1] * count), size)
    counts = Counter(one._places)
    assert len(one._places) == size
    assert set(counts) == set(range(count))
    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("weights", [(2, 1), (5, 3, 2), (1000, 1)], ids=str)
def test_places_are_the_weights(weights):
    one = table(endpoints(*weights))
    counts = Counter(one._places)
    for number, weight in enumerate(weights):
        assert counts[number] / 65_537 == pytest.approx(weight / sum(weights), abs=0.0001)


@pytest.mark.parametrize("count", [3, 10, 100])
def test_what_moves_when_one_goes(count):
    """Its own share, and little more: the paper measures 2 % for a table of a hundred times as many places."""
    made = endpoints(*[1] * count)
    before, after = table(made), table(made[:-1])
    moved = sum(before.pick((), key) is not after.pick((), key) for key in KEYS) / len(KEYS)
    assert 1 / count * 0.8 <= moved <= 1 / count + 0.02


def test_it_is_the_same_in_whatever_order_endpoints_come():
    made = endpoints(1, 2, 3)
    one, other = table(made, 251), table(made[::-1], 251)
    assert [one.pick((), key) for key in KEYS] == [other.pick((), key) for key in KEYS]


def test_ten_thousand_endpoints_are_two_bytes_a_place():
    one = table(endpoints(*[1] * 10_000))
    assert (one._places.itemsize, len(set(one._places))) == (2, 10_000)
    assert repr(one) == "<Maglev of 10000/10000, 65537 places>"


@pytest.mark.parametrize(
    ("size", "prime"), [(0, False), (1, False), (2, True), (9, False), (65_537, True), (65_536, False)]
)
def test_primes(size, prime):
    assert is_prime(size) is prime


def test_one_heavy_endpoint_among_light_ones_does_not_hold_the_loop():
    """Each of its places is a whole turn in which nearly all sit out: 480 000 looks here, at most 2 048 in a step."""
    made = endpoints(100, *[1] * 3000)
    steps = sum(1 for _ in prepare(Maglev(table_size=5003), made, [one.weight for one in made]))
    assert steps > 160 * 3000 / 2048
