"""The limit that is found out, against applications of known capacity. Time is an argument."""

from __future__ import annotations

import heapq
import random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.resilience.adaptive import (
    BEGIN,
    FEWEST,
    HIGH,
    LOW,
    MOST_KEPT,
    NAME,
    NORMAL,
    PASSING,
    WINDOW,
    Gradient,
    limits,
    running,
)
from sidewinder_sidecar.snapshot.policies import AdaptiveConcurrencySpec

TARGET = 0.1


def spec(**numbers) -> AdaptiveConcurrencySpec:
    return AdaptiveConcurrencySpec(policy="shop/limits", **({"target_latency": TARGET} | numbers))


class Application:
    """Works on `capacity` requests at once; more share it. `demand` callers ask again as soon as they are answered, or
    refused a moment ago."""

    def __init__(self, capacity: int, seconds: float, demand: int, gradient: Gradient) -> None:
        self.capacity, self.seconds, self.demand, self.gradient = capacity, seconds, demand, gradient
        self.now = 0.0
        self.latencies: list[float] = []
        self.refused = 0
        self._ends: list[tuple[float, float]] = []

    def run(self, seconds: float) -> Application:
        """So long, at the state that it has by then; what is told is of this stretch alone."""
        self.latencies.clear()
        self.refused = 0
        until = self.now + seconds
        while self.now < until:
            while len(self._ends) < self.demand:
                if not self.gradient.admits():
                    self.refused += 1
                    break
                self.gradient.enter()
                takes = self.seconds * max(1.0, self.gradient.running / self.capacity)
                heapq.heappush(self._ends, (self.now + takes, takes))
            self.now, took = heapq.heappop(self._ends)
            self.gradient.leave()
            self.gradient.measured(self.now, took)
            self.latencies.append(took)
        return self

    @property
    def latency(self) -> float:
        return median(self.latencies)

    @property
    def rate(self) -> float:
        return len(self.latencies)


def test_what_is_quick_enough_is_never_refused_and_gets_more_and_more() -> None:
    gradient = Gradient(spec(), 0.0)
    slack = Application(capacity=500, seconds=0.02, demand=90, gradient=gradient).run(30)
    assert slack.refused == 0
    assert gradient.limit > BEGIN
    # 90 in flight make use of a limit of 180, not of 300: nobody knows what the application would do with those
    assert gradient.limit < 2 * 90 + 20


@pytest.mark.parametrize(("capacity", "seconds"), [(10, 0.01), (40, 0.02), (200, 0.05), (20, 0.002)])
def test_under_overload_the_latency_comes_to_the_target_and_nothing_of_the_capacity_is_lost(capacity, seconds) -> None:
    gradient = Gradient(spec(), 0.0)
    flooded = Application(capacity, seconds, demand=5000, gradient=gradient)
    flooded.run(30)
    flooded.run(10)
    assert TARGET * 0.7 < flooded.latency < TARGET * 1.25
    assert flooded.rate / 10 > 0.95 * capacity / seconds
    assert flooded.refused > 0


def test_an_application_that_becomes_slow_is_given_less_within_seconds() -> None:
    gradient = Gradient(spec(), 0.0)
    app = Application(100, 0.05, demand=2000, gradient=gradient)
    app.run(20)
    before = gradient.limit
    app.capacity = 25
    app.run(4)
    assert gradient.limit < before / 2
    assert app.run(1).latency < 1.3 * TARGET


def test_and_gets_more_again_when_it_has_recovered() -> None:
    gradient = Gradient(spec(), 0.0)
    app = Application(10, 0.05, demand=2000, gradient=gradient)
    app.run(20)
    assert gradient.limit < 30
    app.capacity = 100
    app.run(20)
    assert gradient.limit > 150


def test_a_target_that_the_application_cannot_keep_does_not_strangle_it() -> None:
    gradient = Gradient(spec(), 0.0)
    slow = Application(capacity=1000, seconds=0.4, demand=60, gradient=gradient)
    slow.run(120)  # these come and go in step, so that windows are as long as they take
    assert slow.run(10).refused == 0
    assert gradient.limit >= 60


def test_not_even_when_it_is_flooded_from_its_first_second() -> None:
    gradient = Gradient(spec(), 0.0)
    slow = Application(capacity=1000, seconds=0.4, demand=200, gradient=gradient)
    slow.run(180)
    assert slow.run(10).refused == 0


@pytest.mark.parametrize("demand", [28, 42, 60, 90])
@pytest.mark.parametrize("quiet", [0, 5])
def test_nor_is_one_that_does_not_come_near_the_first_limit(demand, quiet) -> None:
    gradient = Gradient(spec(), 0.0)
    app = Application(capacity=4, seconds=0.02, demand=2, gradient=gradient)
    app.run(quiet)
    app.demand = demand
    app.run(10)
    assert app.run(5).latency < 1.3 * TARGET
    assert app.rate / 5 > 0.95 * 200


def test_a_flood_from_the_first_second_is_not_taken_for_what_is_usual() -> None:
    gradient = Gradient(spec(), 0.0)
    app = Application(capacity=4, seconds=0.02, demand=2000, gradient=gradient)
    app.run(10)
    assert app.run(5).latency < 1.3 * TARGET


def test_nor_does_it_let_it_be_flooded() -> None:
    gradient = Gradient(spec(), 0.0)
    slow = Application(capacity=40, seconds=0.4, demand=5, gradient=gradient)
    slow.run(20)  # what is usual is learned while little is asked
    slow.demand = 2000
    slow.run(60)
    assert slow.run(10).latency < 0.4 * 2


def test_a_flood_that_pauses_is_still_one() -> None:
    gradient = Gradient(spec(), 0.0)
    app = Application(capacity=4, seconds=0.02, demand=60, gradient=gradient)
    for _ in range(20):
        app.demand = 60
        app.run(0.7)
        app.demand = 1
        app.run(0.2)
        app.now += 20.0
    assert gradient.usual <= TARGET
    app.demand = 60
    app.run(10)
    assert app.run(5).latency < 1.3 * TARGET


def test_what_is_usual_is_learned_at_the_floor_when_the_load_never_ends() -> None:
    gradient = Gradient(spec(least=5), 0.0)
    slow = Application(capacity=40, seconds=0.4, demand=2000, gradient=gradient)
    slow.run(120)
    assert slow.run(20).rate / 20 > 0.5 * 40 / 0.4


def test_a_step_of_load_costs_neither_goodput_nor_time_and_is_over_when_it_is_over() -> None:
    """Arrivals by chance that do not wait for anybody, service times by chance: ten at once, 5 ms each."""
    chance = random.Random(7)
    gradient, now = Gradient(spec(), 0.0), 0.0
    free, ends = [0.0] * 10, []

    def load(rate: float, seconds: float) -> tuple[float, list[float], int]:
        nonlocal now
        taken, refused, until = [], 0, now + seconds
        while now < until:
            now += chance.expovariate(rate)
            while ends and ends[0][0] <= now:
                end, took = heapq.heappop(ends)
                gradient.leave()
                gradient.measured(end, took)
            if not gradient.admits():
                refused += 1
                continue
            gradient.enter()
            end = max(heapq.heappop(free), now) + chance.expovariate(200)
            heapq.heappush(free, end)
            heapq.heappush(ends, (end, end - now))
            taken.append(end - now)
        return len(taken) / seconds, sorted(taken), refused

    assert load(1000, 5)[2] == 0
    load(10_000, 2)
    goodput, taken, refused = load(10_000, 3)
    assert goodput > 0.95 * 2000
    assert taken[int(len(taken) * 0.99)] < 1.5 * TARGET
    assert refused > 20_000
    load(1000, 0.5)
    goodput, taken, refused = load(1000, 3)
    assert (refused, taken[int(len(taken) * 0.99)] < TARGET / 2) == (0, True)


@pytest.mark.parametrize(("least", "most"), [(1, 5), (50, 60), (300, 1000)])
def test_the_policys_bounds_hold(least, most) -> None:
    gradient = Gradient(spec(least=least, most=most), 0.0)
    assert least <= gradient.limit <= most
    Application(1, 5.0, demand=400, gradient=gradient).run(1000)
    assert least <= gradient.limit <= most
    gradient.renew(spec(least=most, most=most))
    assert gradient.limit == most
    gradient = Gradient(spec(least=least, most=most), 0.0)
    Application(1000, 0.09, demand=1000, gradient=gradient).run(30)
    assert gradient.limit == most


def test_low_ones_are_refused_first_and_high_ones_last() -> None:
    gradient = Gradient(spec(), 0.0)
    admitted = {}
    for name, share in (("low", LOW), ("normal", NORMAL), ("high", HIGH)):
        while gradient.admits(share):
            gradient.enter()
        admitted[name] = gradient.running
    assert admitted == {"low": 60, "normal": 90, "high": 100}


def test_the_floor_is_for_everybody() -> None:
    gradient = Gradient(spec(least=4, most=4), 0.0)
    for _ in range(4):
        assert gradient.admits(LOW)
        gradient.enter()
    assert not gradient.admits(HIGH)


def test_a_window_needs_some_requests_and_keeps_a_bounded_number() -> None:
    gradient = Gradient(spec(), 0.0)
    for number in range(FEWEST - 1):
        gradient.enter()
        gradient.leave()
        gradient.measured(5.0 + number, 3.0)
    assert gradient.limit == BEGIN
    gradient.enter()
    gradient.leave()
    gradient.measured(20.0, 3.0)
    assert gradient.limit < BEGIN
    for _ in range(10 * MOST_KEPT):
        gradient.enter()
        gradient.leave()
        gradient.measured(20.0 + WINDOW / 2, 0.01)
    assert len(gradient._samples) == MOST_KEPT


def test_what_says_nothing_counts_for_nothing() -> None:
    gradient = Gradient(spec(), 0.0)
    for _ in range(1000):
        gradient.enter()
        gradient.leave()
    assert (gradient.limit, gradient.usual, gradient.running) == (BEGIN, 0.0, 0)


@given(st.lists(st.tuples(st.sampled_from((LOW, NORMAL, HIGH)), st.floats(0, 2), st.floats(0, 20)), max_size=300))
def test_in_any_order_of_events_the_bounds_hold(events) -> None:
    gradient = Gradient(spec(least=2, most=30), 0.0)
    now, inside = 0.0, []
    for share, wait, seconds in events:
        now += wait
        if gradient.admits(share):
            gradient.enter()
            inside.append(seconds)
        elif inside:
            gradient.leave()
            gradient.measured(now, inside.pop())
        assert 2 <= gradient.limit <= 30
        assert gradient.running == len(inside) <= 30
    for seconds in inside:
        gradient.leave()
        gradient.measured(now, seconds)
    assert gradient.running == 0
    assert gradient.admits(LOW)


class Body:
    """One that holds a place for a body that passes."""

    def __init__(self, gradient: Gradient, now: float) -> None:
        self.gradient = gradient
        gradient.enter()
        gradient.passing[self] = now

    def give_up(self) -> None:
        self.gradient.leave()


def test_bodies_that_pass_for_long_give_up_their_places_when_there_is_no_room_and_not_before() -> None:
    gradient = Gradient(spec(least=4, most=4), 0.0)
    old = [Body(gradient, 0.0), Body(gradient, 1.0)]
    Body(gradient, PASSING)
    gradient.enter()
    assert not gradient.admits()
    assert not gradient.relieve(PASSING - 0.1)
    assert gradient.relieve(PASSING + 0.5)
    assert (gradient.running, gradient.admits()) == (3, True)
    assert gradient.relieve(PASSING + 1.0)
    assert not gradient.relieve(PASSING + 1.0)
    assert not gradient.passing.keys() & set(old)


def test_streams_that_never_end_let_the_limit_grow_past_them() -> None:
    gradient = Gradient(spec(), 0.0)
    now, refused = 0.0, 0
    for _ in range(2000):  # subscribers that come and stay, each answered at once
        now += 0.01
        if gradient.admits() or (gradient.relieve(now) and gradient.admits()):
            Body(gradient, now)
            gradient.measured(now, 0.002)
        else:
            refused += 1
    assert refused < 500
    assert gradient.admits() or gradient.relieve(now + PASSING)


def test_what_metrics_are_told() -> None:
    gradient = Gradient(spec(), 0.0)
    gradient.enter()
    memory = {NAME: {"shop/limits ": gradient}}
    labels = {"policy": "shop/limits", "target": ""}
    assert list(limits(memory)) == [(labels, BEGIN)]
    assert list(running(memory)) == [(labels, 1)]
    assert list(limits({})) == list(running({})) == []
    assert repr(gradient) == "<Gradient 1 of 100.0, usually 0.0 ms>"
