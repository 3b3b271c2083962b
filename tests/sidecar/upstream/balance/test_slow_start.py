"""A new endpoint's share grows as the formula says; of a hash's keys each moves once."""

from __future__ import annotations

from collections import Counter

import pytest

from sidewinder_sidecar.snapshot.upstreams import RingHash
from sidewinder_sidecar.upstream.balance import prepare
from sidewinder_sidecar.upstream.balance.hashed import hashed
from sidewinder_sidecar.upstream.balance.least_request import LeastRequestBalancer
from sidewinder_sidecar.upstream.balance.random import RandomBalancer
from sidewinder_sidecar.upstream.balance.round_robin import RoundRobinBalancer
from sidewinder_sidecar.upstream.balance.slow_start import grown, luck, warmed
from tests.support.memory import endpoints

WINDOW = 30.0


@pytest.mark.parametrize(
    ("age", "part"), [(0.0, 0.1), (2.9, 0.1), (15.0, 0.5), (29.0, 29 / 30), (30.0, 1.0), (1e9, 1.0)]
)
def test_what_counts_of_a_weight(age, part):
    (one,) = endpoints(1)
    one.begin_slow_start(1000.0)
    assert grown(one, WINDOW, 1000.0 + age) == pytest.approx(part)


@pytest.mark.parametrize("make", [RandomBalancer, RoundRobinBalancer, LeastRequestBalancer])
@pytest.mark.parametrize("age", [0.0, 15.0, 31.0])
def test_the_share_is_the_weight_times_what_it_has_grown_to(make, age):
    made = endpoints(1, 1, 1)
    made[0].begin_slow_start(0.0)
    balancer = make(made)
    counts = Counter(warmed(balancer, balancer.pick(), WINDOW, (), None, age) for _ in range(20_000))
    part = max(0.1, min(1.0, age / WINDOW))
    assert counts[made[0]] / 20_000 == pytest.approx(part / (2 + part), abs=0.02)


def test_where_all_are_new_somebody_is_picked():
    made = endpoints(1, 1)
    for one in made:
        one.begin_slow_start(0.0)
    balancer = RandomBalancer(made)
    counts = Counter(warmed(balancer, balancer.pick(), WINDOW, (), None, 0.0) for _ in range(4000))
    assert counts[made[0]] / 4000 == pytest.approx(0.5, abs=0.05)


def table(made):
    steps = prepare(RingHash(), made, [1] * len(made), None)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value


def test_where_all_are_new_every_key_is_where_it_belongs():
    made = endpoints(*[1] * 6)
    for one in made:
        one.begin_slow_start(0.0)
    ring = table(made)
    keys = [hashed(b"%d" % number) for number in range(300)]
    assert [warmed(ring, ring.pick((), key), WINDOW, (), key, 0.0) for key in keys] == [
        ring.pick((), key) for key in keys
    ]
    (alone,) = endpoints(1)
    alone.begin_slow_start(0.0)
    assert {warmed(table([alone]), alone, WINDOW, (), key, 0.0) for key in keys} == {alone}


def test_each_key_moves_once_and_to_the_new_one():
    made = endpoints(1, 1, 1)
    made[0].begin_slow_start(0.0)
    ring = table(made)
    keys = [hashed(b"%d" % number) for number in range(2000)]
    before = [warmed(ring, ring.pick((), key), WINDOW, (), key, 0.0) for key in keys]
    shares = [before.count(made[0])]
    for age in (6.0, 12.0, 24.0, 30.0):
        after = [warmed(ring, ring.pick((), key), WINDOW, (), key, age) for key in keys]
        assert {new for new, old in zip(after, before, strict=True) if new is not old} == {made[0]}
        before = after
        shares.append(after.count(made[0]))
    assert shares == sorted(shares)
    assert shares[0] / shares[-1] == pytest.approx(0.1, abs=0.04)
    assert before == [ring.pick((), key) for key in keys]


def test_luck_is_even():
    draws = sorted(luck(hashed(b"%d" % number)) for number in range(1000))
    assert all(abs(draw - number / 1000) < 0.06 for number, draw in enumerate(draws))
