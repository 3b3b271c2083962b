"""What counts, when it is too much, and which try is the probe. Time is an argument."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.errors import TABLE
from sidewinder_sidecar.resilience.breaker import BUCKETS, FAILED, UNKNOWN, WELL, Breaker, Rules, Window
from sidewinder_sidecar.snapshot.upstreams import BreakerSpec, FailureRateSpec
from tests.support.memory import endpoints


class Judge:
    """Outliers that write down what they are told."""

    def __init__(self, **options):
        self.rules = Rules(BreakerSpec(**options))
        self.told = []

    def trip(self, breaker, why, now):
        self.told.append(("trip", why))

    def offer(self, breaker, now):
        self.told.append(("offer", ""))

    def probed(self, breaker, well, why, now):
        self.told.append(("well" if well else "ill", why))


def made(**options):
    judge = Judge(**options)
    return Breaker(endpoints(1)[0], judge, 0.0), judge


@pytest.mark.parametrize(
    ("status", "error", "verdict"),
    [
        pytest.param(200, "", WELL, id="well"),
        pytest.param(404, "", WELL, id="a status that is not named"),
        pytest.param(503, "", FAILED, id="a status that is named"),
        pytest.param(0, "connect_refused", FAILED, id="no connection"),
        pytest.param(0, "tls_identity", FAILED, id="somebody else answers"),
        pytest.param(0, "reset", FAILED, id="broken off before the answer"),
        pytest.param(200, "incomplete", FAILED, id="broken off in the answer"),
        pytest.param(0, "upstream_protocol", FAILED, id="garbage"),
        pytest.param(0, "try_timeout", FAILED, id="too slow"),
        pytest.param(0, "idle", FAILED, id="stuck"),
        pytest.param(0, "reset_before_request", UNKNOWN, id="a kept connection that had died"),
        pytest.param(0, "caller_gone", UNKNOWN, id="the caller left"),
        pytest.param(503, "draining", UNKNOWN, id="we are leaving"),
        pytest.param(0, "bug", UNKNOWN, id="our own fault"),
    ],
)
def test_what_counts(status, error, verdict):
    assert Rules(BreakerSpec()).verdict(status, error) == verdict


def test_what_counts_can_be_chosen():
    rules = Rules(BreakerSpec(conditions=("Timeout",), codes=(429,)))
    assert [rules.verdict(0, error) for error in ("connect_refused", "reset", "try_timeout")] == [
        UNKNOWN,
        UNKNOWN,
        FAILED,
    ]
    assert [rules.verdict(status, "") for status in (429, 503)] == [FAILED, WELL]
    assert rules.errors <= TABLE.keys()


def test_failures_in_a_row_and_nothing_else():
    breaker, judge = made(consecutive=3)
    for status in (503, 503, 200, 503, 503):
        breaker.settled(status, "", 1.0, 0.1)
    breaker.settled(0, "caller_gone", 1.0, 0.1)
    assert judge.told == []
    breaker.settled(0, "reset", 1.0, 0.1)
    assert judge.told == [("trip", "3 failures in a row, the last one reset")]


def test_the_rate_waits_for_enough_requests():
    breaker, judge = made(consecutive=0, rate=FailureRateSpec(percent=50, interval=10.0, min_requests=4))
    for status in (503, 200, 503):
        breaker.settled(status, "", 1.0, 0.1)
    assert judge.told == []
    breaker.settled(503, "", 2.0, 0.1)
    assert judge.told == [("trip", "3 of 4 requests failed in 10 s, the last one 503")]


def test_what_left_the_window_counts_no_more():
    breaker, judge = made(consecutive=0, rate=FailureRateSpec(percent=50, interval=10.0, min_requests=4))
    for _ in range(3):
        breaker.settled(503, "", 1.0, 0.1)
    for status in (200, 200, 503):
        breaker.settled(status, "", 12.0, 0.1)
    assert judge.told == []
    assert (breaker.window.tries, breaker.window.failed) == (3, 1)


def test_a_window_forgets_a_tenth_at_a_time():
    window = Window(10.0, 100.0)
    told = [
        (100.5, 1, 1, 1), (100.9, 0, 2, 1), (101.5, 1, 3, 2), (103.5, 1, 4, 3), (109.9, 0, 5, 3),
        (110.1, 0, 4, 2), (111.0, 1, 4, 2), (113.0, 0, 4, 1),  # the tenths of 100, 101 and 103 are gone
        (140.0, 1, 1, 1), (140.5, 0, 2, 1), (149.9, 0, 3, 1), (150.0, 0, 2, 0),
    ]  # fmt: skip
    for now, failed, tries, failures in told:
        window.count(now, failed)
        assert (now, window.tries, window.failed) == (now, tries, failures)


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 1)), max_size=80))
def test_a_window_is_what_happened_in_it_to_a_tenth(steps):
    window, now, told = Window(5.0, 100.0), 100.0, []
    for ahead, failed in steps:
        now += ahead
        window.count(now, failed)
        told.append((now, failed))
        exactly = [one for when, one in told if when > now - 5.0 * (BUCKETS - 1) / BUCKETS]
        most = [one for when, one in told if when >= now - 5.0]
        assert len(exactly) <= window.tries <= len(most)
        assert sum(exactly) <= window.failed <= sum(most)


def test_only_the_probe_is_heard_while_it_is_half_open():
    breaker, judge = made()
    breaker.open("tests", 100.0, 5.0)
    assert (breaker.state, breaker.member.usable) == ("open", False)
    breaker.settled(200, "", 101.0, 3.0)  # sent before
    breaker.on_time(105.0)
    assert (breaker.state, judge.told) == ("half-open", [("offer", "")])
    breaker.settled(503, "", 105.5, 2.0)
    breaker.send(106.0)
    breaker.settled(200, "", 106.5, 0.25)  # in a panic, or sent before
    assert judge.told == [("offer", "")]
    breaker.settled(0, "caller_gone", 107.0, 1.0)  # the probe's caller left: the next request is it
    assert judge.told[1:] == [("offer", "")]
    breaker.send(108.0)
    breaker.settled(200, "", 1000.125, 892.125)
    assert judge.told[2:] == [("well", "200")]


def test_closing_forgets_the_count_and_keeps_how_often():
    breaker, _ = made(rate=FailureRateSpec())
    breaker.settled(503, "", 99.0, 0.1)
    breaker.open("tests", 100.0, 5.0)
    breaker.close(106.0)
    assert (breaker.state, breaker.consecutive, breaker.window.tries) == ("closed", 0, 0)
    assert (breaker.times, breaker.closed_at, breaker.member.usable) == (1, 106.0, True)
    assert repr(breaker) == "<Breaker 10.0.0.0:1 closed 0 in a row, tests>"
