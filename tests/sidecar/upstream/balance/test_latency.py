"""The average jumps up at once and falls by the published formula; failures never make it better."""

from __future__ import annotations

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.snapshot.upstreams import PeakEWMA
from sidewinder_sidecar.upstream.balance.latency import Latency

SPEC = PeakEWMA(decay=10.0, start=0.03)


def test_what_nobody_has_measured_is_the_first_guess_and_fades():
    one = Latency(SPEC, 100.0)
    assert one.expected(100.0) == 0.03
    assert one.expected(110.0) == pytest.approx(0.03 / exp(1))
    assert repr(one) == "<Latency 30 ms>"


def test_a_peak_counts_whole_and_at_once():
    one = Latency(SPEC, 0.0)
    one.settled(200, "", 1.0, 2.5)
    assert one.expected(1.0) == 2.5


def test_a_faster_answer_counts_by_the_time_since_the_last():
    """Finagle: cost = cost * w + rtt * (1 - w), w = e^(-td / decay)."""
    one = Latency(SPEC, 0.0)
    one.settled(200, "", 0.0, 1.0)
    one.settled(200, "", 5.0, 0.1)
    assert one.expected(5.0) == pytest.approx(1.0 * exp(-0.5) + 0.1 * (1 - exp(-0.5)))
    one.settled(200, "", 5.0, 0.1)  # at the same moment: nothing has been learned
    assert one.expected(5.0) == pytest.approx(1.0 * exp(-0.5) + 0.1 * (1 - exp(-0.5)))


@pytest.mark.parametrize(("status", "error"), [(503, ""), (0, "connect_refused")], ids=["5xx", "connect"])
def test_who_fails_fast_does_not_look_fast(status, error):
    """As an answer that took four times as long, and a second at least."""
    one = Latency(SPEC, 0.0)
    one.settled(200, "", 0.0, 1.0)
    one.settled(status, error, 0.5, 0.0001)
    stays = exp(-0.05)
    assert one.expected(0.5) == pytest.approx(1.0 * stays + 4.0 * (1 - stays))
    quick = Latency(SPEC, 0.0)
    quick.settled(status, error, 10.0, 0.0001)
    assert quick.expected(10.0) == pytest.approx(0.03 * exp(-1) + 1.0 * (1 - exp(-1)))


def test_a_slow_failure_is_slow_but_a_caller_that_left_says_nothing():
    one = Latency(SPEC, 0.0)
    one.settled(0, "caller_gone", 9.0, 9.0)
    assert one.expected(0.0) == 0.03
    assert one.expected(0.5) == pytest.approx(0.03 * exp(-0.05))
    one.settled(0, "upstream_timeout", 9.0, 9.0)
    assert 9.0 <= one.expected(9.0) <= 36.0


def test_a_failure_in_a_hundred_is_hardly_seen():
    """By time: a busy endpoint's failure stands for the 10 ms that it took the place of."""
    one = Latency(SPEC, 0.0)
    for number in range(6000):
        one.settled(500 if number % 100 == 7 else 200, "", number / 100, 0.03)
    assert one.expected(60.0) < 0.05


def test_who_fails_whenever_it_is_asked_fades_no_faster_than_who_is_not_asked():
    """However long it goes on; and however slow the others are, it comes to look slower."""
    one = Latency(SPEC, 0.0)
    before = one.expected(0.0)
    for second in range(1, 100):
        one.settled(503, "", float(second), 0.001)
        assert one.expected(float(second)) >= before
        before = one.expected(float(second))
    assert 100 < before <= 600


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 30), st.booleans()), max_size=30))
def test_it_stays_between_nothing_and_the_worst(answers):
    one, now, worst = Latency(SPEC, 0.0), 0.0, 0.03
    for later, seconds, good in answers:
        now += later
        worst = max(worst, seconds) if good else max(worst, seconds, min(max(1.0, 4 * max(worst, seconds)), 600.0))
        one.settled(200 if good else 500, "", now, seconds)
        assert 0 <= one.expected(now) <= worst + 1e-9
        assert one.expected(now + 1) <= one.expected(now)
