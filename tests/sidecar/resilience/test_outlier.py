"""Ejection: bounds that always hold, times that grow and end, one probe at a time. A machine drives it; time is its."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sidewinder_sidecar.resilience.breaker import CLOSED, HALF_OPEN, OPEN, PATIENCE
from sidewinder_sidecar.resilience.outlier import GRACE, JITTER, Outliers, calm
from sidewinder_sidecar.snapshot.upstreams import BreakerSpec, EndpointSpec
from sidewinder_sidecar.wheel import Wheel
from tests.support.examples import examples
from tests.support.memory import Clock, Endpoint, endpoints

SPEC = BreakerSpec(consecutive=2, open_seconds=5.0, max_open_seconds=60.0, max_ejected_percent=50)


def made(count=4, spec=SPEC):
    members = endpoints(*[1] * count)
    reshaped: list[float] = []
    outliers = Outliers(spec, reshaped.append)
    outliers.serve(spec, members, 0.0)
    return outliers, members, reshaped


def fail(member, now, times=2):
    for _ in range(times):
        member.settled(503, "", now, 0.1)


def test_who_fails_is_ejected_and_comes_back_by_one_probe():
    outliers, (first, *others), reshaped = made()
    fail(first, 100.0)
    breaker = outliers.breakers[first]
    assert (first.usable, breaker.state, outliers.ejected, reshaped) == (False, OPEN, 1, [100.0])
    assert 104.0 <= breaker.until <= 105.0  # 5 s less a fifth at most
    assert outliers.take(101.0) is None
    breaker.on_time(105.0)
    assert breaker.state == HALF_OPEN
    assert outliers.take(105.5) is first
    assert outliers.take(105.5) is None  # exactly one
    first.settled(200, "", 106.0, 0.5)
    assert (first.usable, breaker.state, outliers.ejected, reshaped) == (True, CLOSED, 0, [100.0, 106.0])
    assert all(other.usable for other in others)


def test_times_double_to_the_maximum_and_are_forgiven_after_as_long_a_time():
    outliers, (first, *_), _ = made()
    breaker = outliers.breakers[first]
    now = 100.0
    fail(first, now)
    for expected in (5.0, 10.0, 20.0, 40.0, 60.0, 60.0):
        assert expected * (1 - JITTER) <= breaker.until - now <= expected
        now = breaker.until
        breaker.on_time(now)
        assert outliers.take(now) is first
        first.settled(0, "connect_refused", now + 1.0, 1.0)
        now += 1.0
        assert breaker.why == "the probe failed: connect_refused"
    assert breaker.since == 100.0
    now = breaker.until
    breaker.on_time(now)
    outliers.take(now)
    first.settled(200, "", now, 0.0)
    fail(first, now + 1.0)  # at once again: as long as before
    assert breaker.until - now - 1.0 >= 60.0 * (1 - JITTER)
    outliers.take(breaker.until)
    breaker.on_time(breaker.until)
    now = breaker.until
    outliers.take(now)
    first.settled(200, "", now, 0.0)
    fail(first, now + 61.0)  # a good while later: as if for the first time
    assert breaker.until - now - 61.0 <= 5.0


def test_no_more_than_the_share_are_ejected_and_the_next_follows_when_one_is_back():
    outliers, (first, second, third, _), _ = made()
    for member in (first, second, third):
        fail(member, 100.0)
    assert [member.usable for member in (first, second, third)] == [False, False, True]
    breaker = outliers.breakers[first]
    breaker.on_time(breaker.until)
    outliers.take(106.0)
    first.settled(200, "", 106.0, 0.0)
    third.settled(503, "", 107.0, 0.1)
    assert not third.usable


def test_a_single_endpoint_is_never_ejected_at_half():
    _, (only,), _ = made(1)
    fail(only, 100.0, 50)
    assert only.usable


def test_who_stays_keeps_its_state_and_who_leaves_gives_its_place_back():
    outliers, (first, second, third, fourth), _ = made()
    fail(first, 100.0)
    fail(second, 100.0)
    before = outliers.breakers[first]
    outliers.serve(SPEC, (first, third, fourth), 101.0)
    assert outliers.breakers[first] is before
    assert (before.state, outliers.ejected) == (OPEN, 1)
    assert (second.ejected, second.observers, outliers.take(200.0)) == (False, (), None)


def test_fewer_endpoints_let_in_whoever_would_be_first():
    outliers, (first, second, third, fourth), _ = made()
    fail(first, 100.0)
    fail(second, 130.0)
    outliers.serve(SPEC, (first, second, third), 131.0)
    assert [one.usable for one in (first, second, third, fourth)] == [True, False, True, True]


def test_other_numbers_leave_what_is_open_as_it_is():
    outliers, (first, *members), _ = made()
    fail(first, 100.0)
    other = BreakerSpec(consecutive=1, max_ejected_percent=100)
    outliers.serve(other, (first, *members), 101.0)
    assert (first.usable, outliers.rules.spec) == (False, other)
    fail(members[0], 102.0, 1)
    assert not members[0].usable


def test_without_the_policy_everybody_is_back():
    outliers, members, _ = made()
    fail(members[0], 100.0)
    outliers.close(101.0)
    assert all(member.usable and member.observers == () for member in members)
    assert outliers.take(200.0) is None


def test_one_that_is_not_ready_is_not_probed():
    outliers, (first, *_), _ = made()
    fail(first, 100.0)
    breaker = outliers.breakers[first]
    breaker.on_time(breaker.until)
    first.ready = False
    first.judge()
    assert outliers.take(106.0) is None
    assert (breaker.state, outliers.ejected, first.usable) == (CLOSED, 0, False)


def test_one_that_is_unhealthy_is_not_probed():
    outliers, (first, *_), _ = made()
    fail(first, 100.0)
    breaker = outliers.breakers[first]
    breaker.on_time(breaker.until)
    first.healthy = False
    first.judge()
    assert outliers.take(106.0) is None
    assert (breaker.state, first.ejected, first.usable, list(outliers.due)) == (CLOSED, False, False, [])


def test_who_is_away_anyway_takes_nobodys_place():
    outliers, members, _ = made(4)
    first, second, third, fourth = members
    for member in (first, second):
        fail(member, 100.0)
    for member in (first, second):  # they crash, and are not ready any more
        member.ready = False
        member.judge()
    outliers.serve(SPEC, members, 101.0)
    assert [outliers.breakers[member].state for member in (first, second)] == [OPEN, OPEN], "nothing is forgotten"
    fail(third, 102.0)
    assert not third.usable, "of two that are ready one may go"
    fail(fourth, 102.0)
    assert fourth.usable
    first.ready = True
    first.judge()
    outliers.serve(SPEC, members, 103.0)
    assert [first.usable, third.usable] == [True, False], "of three only one: it comes back who would be first"


def test_what_cannot_be_repeated_is_a_probe_only_where_nothing_else_comes():
    outliers, (first, *_), _ = made()
    fail(first, 100.0)
    breaker = outliers.breakers[first]
    now = breaker.until
    breaker.on_time(now)
    assert outliers.take(now + GRACE / 2, repeatable=False) is None
    assert outliers.take(now + GRACE / 2) is first
    first.settled(0, "caller_gone", now + GRACE, GRACE / 2)
    assert outliers.take(now + GRACE, repeatable=False) is first


def test_a_probe_that_takes_too_long_is_joined_by_another_and_either_decides():
    outliers, (first, *_), _ = made()
    fail(first, 100.0)
    breaker = outliers.breakers[first]
    began = breaker.until
    breaker.on_time(began)
    assert outliers.take(began) is first
    breaker.on_time(began + PATIENCE)
    assert outliers.take(began + PATIENCE) is first
    assert outliers.take(began + PATIENCE) is None
    assert breaker._slot is not None
    breaker.on_time(began + PATIENCE * 3)  # twice as long
    first.settled(0, "caller_gone", began + PATIENCE * 3, PATIENCE * 3)
    assert (breaker.state, len(outliers.due), first.probing) == (HALF_OPEN, 1, True)
    first.settled(200, "", began + PATIENCE * 3, PATIENCE * 2)
    assert (breaker.state, list(outliers.due), first.probing) == (CLOSED, [], False)


def test_panic_is_below_the_share_and_never_leaves_nobody():
    many = endpoints(*[1] * 10)
    for member in many[3:]:
        member.usable = False
    assert calm(many[:3], many, 30) == (many[:3], False)
    assert calm(many[:2], many, 30) == (many, True)
    many[9].ready = False
    assert calm(many[:2], many, 30) == (many[:9], True)
    assert calm([], many, 0) == (many[:9], True)
    assert calm([], [], 30) == ([], False)


class Machine(RuleBasedStateMachine):
    """Whatever happens in whatever order."""

    @initialize(count=st.integers(1, 8), percent=st.integers(0, 100))
    def begin(self, count, percent):
        self.clock = Clock()
        self.wheel = Wheel(self.clock, self.clock.later)
        self.spec = BreakerSpec(consecutive=2, open_seconds=1.0, max_open_seconds=8.0, max_ejected_percent=percent)
        self.members = []
        self.probes = []  # (member, began)
        self.running = []  # (member, began) of ordinary tries
        self.shaped = frozenset()
        self.outliers = Outliers(self.spec, self.reshape)
        self.serve(count)

    def reshape(self, _now):
        self.shaped = frozenset(one for one in self.members if one.usable)

    def serve(self, count):
        while len(self.members) > count:
            gone = self.members.pop(0)
            self.probes = [probe for probe in self.probes if probe[0] is not gone]
        while len(self.members) < count:
            spec = EndpointSpec(uid=str(id(self)), address=f"10.0.0.{len(self.members)}", port=1)
            self.members.append(Endpoint(spec, self.wheel, [], []))
        self.outliers.serve(self.spec, self.members, self.clock.now)
        self.reshape(self.clock.now)

    @rule(count=st.integers(0, 8))
    def endpoints_change(self, count):
        self.serve(count)

    @rule(seconds=st.floats(0.01, 5.0))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @rule()
    def request(self):
        if (probed := self.outliers.take(self.clock.now)) is not None:
            assert probed in self.members
            running = [began for member, began in self.probes if member is probed]
            since = self.outliers.breakers[probed].until  # of another time it was half-open, they say nothing any more
            waited = [self.clock.now - began for began in running if began >= since]
            assert all(one >= PATIENCE for one in waited), "two probes at a time"
            assert not probed.usable
            self.probes.append((probed, self.clock.now))
        elif self.shaped:
            self.running.append((next(iter(self.shaped)), self.clock.now))

    @precondition(lambda self: self.running)
    @rule(number=st.integers(0, 100), status=st.sampled_from([200, 503]))
    def answer(self, number, status):
        member, began = self.running.pop(number % len(self.running))
        member.settled(status, "", self.clock.now, self.clock.now - began)

    @precondition(lambda self: self.probes)
    @rule(number=st.integers(0, 100), outcome=st.sampled_from([(200, ""), (503, ""), (0, "reset"), (0, "caller_gone")]))
    def probe_answers(self, number, outcome):
        member, began = self.probes.pop(number % len(self.probes))
        breaker = self.outliers.breakers[member]
        decides = breaker.state == HALF_OPEN and began in breaker.probes
        before = member.usable
        self.clock.now += 0.001
        member.settled(*outcome, self.clock.now, self.clock.now - began)
        if decides:
            assert member.usable is (outcome == (200, ""))
            assert breaker.probes == () or outcome[1] == "caller_gone"
        elif outcome == (200, ""):
            assert member.usable is before

    @invariant()
    def bounds_hold(self):
        breakers = self.outliers.breakers
        opened = [one for one in breakers.values() if one.state != CLOSED]
        assert set(breakers) == set(self.members)
        assert len(opened) == self.outliers.ejected <= len(self.members) * self.spec.max_ejected_percent // 100
        assert all(one.member.ejected is (one.state != CLOSED) for one in breakers.values())
        assert all(one.until - self.clock.now <= 8.0 for one in opened)
        assert self.shaped == frozenset(one for one in self.members if one.usable)

    @invariant()
    def nobody_is_forgotten(self):
        """Who is half-open is being probed or waits for a request; who is open has its time on the wheel."""
        waiting = [breaker.member for breaker in self.outliers.due]
        for breaker in self.outliers.breakers.values():
            if breaker.state == HALF_OPEN:
                running = [began for member, began in self.probes if member is breaker.member]
                assert set(breaker.probes) <= set(running)
                assert breaker.member in waiting or (breaker.probes and breaker._slot is not None)
                assert breaker.member.probing is (breaker.probes != ())
                assert waiting.count(breaker.member) <= 1
            elif breaker.state == OPEN:
                assert breaker._slot is not None


TestMachine = Machine.TestCase
TestMachine.settings = examples(60, stateful_step_count=40)
