"""The endpoint that answers sooner gets more, one that slows down loses its load at once; averages stay."""

from __future__ import annotations

from collections import Counter, deque

import pytest

from sidewinder_sidecar.snapshot.upstreams import LeastRequest, PeakEWMA
from sidewinder_sidecar.upstream.balance.peak_ewma import PeakEwmaBalancer, cost, measure
from tests.support.memory import endpoints


def measured(*seconds, weights=None):
    made = endpoints(*(weights or [1] * len(seconds)))
    measure(PeakEWMA(start=0.0), made, 0.0)
    for one, each in zip(made, seconds, strict=True):
        one.settled(200, "", 0.0, each)
    return made


def test_the_cost_is_latency_times_what_is_in_flight_and_one_more():
    one, heavy = measured(0.1, 0.1, weights=[1, 2])
    one.active, heavy.active = 3, 3
    assert (cost(one, 0.0), cost(heavy, 0.0)) == (pytest.approx(0.4), pytest.approx(0.2))
    assert cost(endpoints(1)[0], 0.0) == 0.0


def test_of_two_the_one_that_answers_sooner():
    made = measured(0.010, 0.011)
    balancer = PeakEwmaBalancer(made)
    assert all(balancer.pick() is made[0] for _ in range(50))
    made[0].active = 1
    assert all(balancer.pick() is made[1] for _ in range(50))
    made[1].settled(200, "", 1.0, 5.0)
    assert all(balancer.pick((), None, 1.0) is made[0] for _ in range(50))


def test_a_slow_one_among_ten_gets_nothing_until_its_average_has_faded():
    made = measured(*[0.01] * 9, 1.0)
    balancer = PeakEwmaBalancer(made)
    counts = Counter(balancer.pick((), None, 0.0) for _ in range(2000))
    assert counts[made[9]] == 0
    for one in made[:9]:
        for second in range(60):
            one.settled(200, "", float(second), 0.01)
    assert made[9] in {balancer.pick((), None, 60.0) for _ in range(200)}


@pytest.mark.parametrize("weights", [(1, 1, 1), (5, 3, 2)], ids=str)
def test_without_measures_the_shares_are_the_weights(weights):
    made = endpoints(*weights)
    counts = Counter(PeakEwmaBalancer(made).pick() for _ in range(20_000))
    for one, weight in zip(made, weights, strict=True):
        assert counts[one] / 20_000 == pytest.approx(weight / sum(weights), abs=0.025)


def test_the_failed_come_only_when_there_is_no_other():
    made = measured(0.1, 0.2, 0.3, 0.4)
    balancer = PeakEwmaBalancer(made)
    assert all(balancer.pick(made[:3]) is made[3] for _ in range(100))
    assert balancer.pick(made) in made
    assert PeakEwmaBalancer(made[:1]).pick(made) is made[0]
    assert repr(balancer) == "<PeakEWMA of 4>"


def test_what_was_measured_stays_while_the_policy_does():
    made = measured(0.5)
    (one,) = made
    kept = one.latency
    measure(PeakEWMA(start=0.0), made, 0.0)
    assert (one.latency, one.observers) == (kept, (kept,))
    measure(PeakEWMA(start=0.0, decay=1.0), made, 0.0)
    assert one.latency is not kept
    assert one.observers == (one.latency,)
    measure(LeastRequest(), made, 0.0)
    assert (one.latency, one.observers) == (None, ())


@pytest.mark.parametrize("count", [2, 3])
def test_who_fails_at_once_does_not_draw_the_requests(count):
    """It is always idle and its average would fade while it fails: of two endpoints it drew every request."""
    made = endpoints(*[1] * count)
    measure(PeakEWMA(), made, 0.0)
    balancer, running, failed = PeakEwmaBalancer(made), deque(), 0
    for number in range(4000):
        now = number / 200
        while running and running[0][0] <= now:
            ends, one = running.popleft()
            one.active -= 1
            one.settled(200, "", ends, 0.02)
        one = balancer.pick((), None, now)
        if one is made[0]:
            failed += 1
            one.settled(503, "", now + 0.001, 0.001)
        else:
            one.active += 1
            running.append((now + 0.02, one))
    assert failed < 200  # the first second's; later one in half a minute
