"""Checks of endpoints: conversations in memory by a hand-driven clock, verdicts by a model."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.messages import ANSWERING, CONNECT, UNSENT
from sidewinder_sidecar.snapshot.checks import MOST_CHECKS, HttpCheckSpec
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
from sidewinder_sidecar.upstream.health import (
    FAILED,
    KEPT_SECONDS,
    MOST_BODY,
    NOTHING,
    PASSED,
    Streak,
)
from tests.support.checked import BUSY, ONE, REFUSED, SAFE, TWO, Site, name_of, spec
from tests.support.two_proxies import keys


def test_what_is_asked() -> None:
    site = Site(spec(ONE))
    attempt = site.next()
    assert (attempt.method, attempt.target) == (b"GET", b"/healthz?full")
    assert attempt.fields == {
        b"host": b"reviews.bookinfo:9080", b"user-agent": b"sidewinder-health", b"accept": b"*/*",
    }  # fmt: skip
    assert site.clock.now == pytest.approx(1002.5, abs=0.1)


def test_checks_come_at_their_interval_whatever_an_answer_takes() -> None:
    site = Site(spec(ONE))
    began = []
    for _ in range(4):
        attempt = site.next()
        began.append(site.clock.now)
        site.clock.advance(0.9)
        attempt.answer(200, b"")
    assert [later - earlier for earlier, later in itertools.pairwise(began)] == pytest.approx([5, 5, 5], abs=0.2)


def test_a_verdict_needs_its_answers_in_a_row_and_is_told_once() -> None:
    site = Site(spec(ONE))
    site.answer(204)
    assert site.settle() == []
    site.answer(200)
    assert site.settle() == [{name_of(ONE): True}]
    site.answer(500, 2)
    site.answer(200)
    site.answer(500, 2)
    assert site.settle() == []
    site.answer(503)
    assert site.settle() == [{name_of(ONE): False}]
    site.answer(500, 3)
    assert site.settle() == []
    assert site.only.why == "500 was answered"
    site.answer(200, 2)
    assert site.settle() == [{name_of(ONE): True}]
    assert site.only.why == ""
    assert site.checks.counts == {PASSED: 5, FAILED: 8, NOTHING: 0}
    assert site.faults == []


@pytest.mark.parametrize("header", [REFUSED, BUSY], ids=["a policy", "a limit"])
def test_what_one_of_our_proxies_refuses_says_nothing(header: tuple[bytes, bytes]) -> None:
    site = Site(spec(ONE))
    site.answer(500, 3)
    assert site.settle() == [{name_of(ONE): False}]
    for _ in range(4):
        site.next().answer(403, b"", header)
    assert site.settle() == [{name_of(ONE): None}]
    assert site.only.why == "403 was answered by a policy or a limit"


def test_an_applications_own_refusal_is_one() -> None:
    site = Site(spec(ONE))
    for _ in range(3):
        site.next().answer(403, b"", (b"proxy-status", b"other; error=http_request_denied"))
    assert site.settle() == [{name_of(ONE): False}]


def test_silence_ends_with_the_time_for_an_answer() -> None:
    site = Site(spec(ONE))
    attempt = site.next()
    site.clock.advance(0.9)
    assert not attempt.over
    site.clock.advance(0.2)
    assert attempt.cancelled == "checked"
    assert site.only.why == "no answer within 1 s"
    assert site.only.streak.length == 1


def test_a_body_is_read_so_that_the_connection_is_kept_but_not_a_long_one() -> None:
    site = Site(spec(ONE))
    attempt = site.next()
    attempt.answer(200, b"well")
    assert attempt.cancelled is None
    long = site.next()
    long.answer(200)
    long.data(b"x" * MOST_BODY)
    assert not long.over
    long.data(b"x")
    assert long.cancelled == "checked"
    assert site.settle() == [{name_of(ONE): True}]


def test_a_kept_connection_that_had_died_is_tried_once_more() -> None:
    site = Site(spec(ONE))
    site.next().fail(UNSENT, "reset_before_request")
    assert len(site.opened) == 2
    site.opened[-1].fail(UNSENT, "reset_before_request", "gone again")
    assert len(site.opened) == 2
    assert (site.only.why, site.checks.counts[FAILED]) == ("gone again", 1)


def test_a_redirect_is_an_answer_like_any_other() -> None:
    site = Site(spec(ONE))
    site.next().answer(302, b"", (b"location", b"http://169.254.169.254/"))
    site.clock.advance(1.0)
    assert (len(site.opened), site.checks.counts[FAILED], site.only.why) == (1, 1, "302 was answered")


def test_a_connection_that_cannot_be_made_is_a_failure() -> None:
    site = Site(spec(ONE))
    for _ in range(3):
        site.next().fail(CONNECT, "connect_refused", "Connection refused")
    assert site.settle() == [{name_of(ONE): False}]


def test_without_a_certificate_of_our_own_nothing_is_found_out() -> None:
    site = Site(spec(SAFE))
    site.clock.advance(60)
    assert site.opened == []
    assert site.checks.counts[NOTHING] > 5
    assert site.only.streak.verdict is None


# ── a connection alone ────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_tcp_a_connection_is_enough_where_nobody_stands_in_front() -> None:
    site = Site(spec(ONE, http=None))
    for _ in range(2):
        attempt = site.next()
        attempt.open_tunnel(200)
        assert attempt.cancelled == "checked"
    assert site.settle() == [{name_of(ONE): True}]


def guarded(folders: Path) -> Site:
    """A check of TCP behind a sidecar, with a certificate of our own."""
    site = Site(spec(SAFE, http=None))
    site.only.endpoint.keyring = keys(folders / "web")
    return site


def test_behind_a_sidecar_a_connection_must_last_a_moment(folders: Path) -> None:
    site = guarded(folders)
    attempt = site.next()
    attempt.open_tunnel(200)
    site.clock.advance(KEPT_SECONDS - 0.05)
    assert not attempt.over
    site.clock.advance(0.1)
    assert attempt.cancelled == "checked"
    assert site.checks.counts == {PASSED: 1, FAILED: 0, NOTHING: 0}


@pytest.mark.parametrize("ends", ["end", "reset"])
def test_behind_a_sidecar_a_connection_that_ends_at_once_found_nobody(folders: Path, ends: str) -> None:
    site = guarded(folders)
    attempt = site.next()
    attempt.open_tunnel(200)
    attempt.end() if ends == "end" else attempt.fail(ANSWERING, "incomplete", "closed")
    assert site.checks.counts == {PASSED: 0, FAILED: 1, NOTHING: 0}
    assert site.faults == []


def test_who_speaks_first_is_there(folders: Path) -> None:
    site = guarded(folders)
    attempt = site.next()
    attempt.open_tunnel(200)
    attempt.data(b"220 ready")
    assert attempt.cancelled == "checked"
    assert site.checks.counts[PASSED] == 1


# ── what is looked after, and who is told ─────────────────────────────────────────────────────────────────────────────


def test_who_is_given_to_somebody_else_is_forgotten() -> None:
    site = Site(spec(ONE, TWO))
    site.answer(500, 3)
    site.settle()
    running = site.next()
    gone = next(check for check in site.checks.checks.values() if check.endpoint is running.endpoint)
    site.checks.follow(spec(TWO if gone.source is ONE else ONE))
    assert running.cancelled == "checked"
    assert gone.endpoint.retired
    assert site.settle() == [{gone.key: None}]
    site.checks.close()
    site.settle()
    assert len(site.wheel) == 0


def test_what_stays_keeps_its_verdict_though_asked_otherwise() -> None:
    site = Site(spec(ONE))
    site.answer(500, 3)
    before = site.only
    site.checks.follow(spec(ONE, http=HttpCheckSpec(path="/other"), interval=9.0))
    assert site.only is before
    assert site.next().target == b"/other"
    site.checks.follow(spec(SAFE))
    assert site.only is not before, "with another identity it is somebody else"


def test_a_shorter_interval_holds_at_once() -> None:
    site = Site(spec(ONE, interval=3600.0))
    site.checks.follow(spec(ONE, interval=2.0))
    began = site.clock.now
    site.next()
    assert site.clock.now - began < 2.0
    site.checks.follow(spec(ONE, interval=1.0))
    assert len(site.wheel) == 1, "a check that runs is let run"


def test_nobody_looks_after_more_than_he_can() -> None:
    many = [EndpointSpec(uid=str(number), address="10.0.0.1", port=1 + number) for number in range(MOST_CHECKS + 3)]
    site = Site(spec(*many))
    assert (len(site.checks.checks), site.checks.dropped) == (MOST_CHECKS, 3)


def test_verdicts_that_come_together_are_told_together() -> None:
    site = Site(spec(ONE, TWO))
    site.answer(500, 3)
    assert site.settle() == [{name_of(ONE): False, name_of(TWO): False}]


def test_what_could_not_be_sent_is_told_again() -> None:
    site = Site(spec(ONE, TWO))
    site.deaf = True
    site.answer(500, 3)
    assert site.settle() == []
    site.deaf = False
    assert site.settle() == [both := {name_of(ONE): False, name_of(TWO): False}]
    assert site.settle() == []
    site.deaf = True
    site.checks.connect(site.post)
    site.deaf = False
    assert site.settle() == [both], "a stream's first word, too"


def test_a_new_stream_hears_all_and_no_stream_hears_nothing() -> None:
    site = Site(spec(ONE))
    site.checks.disconnect()
    site.answer(500, 3)
    assert site.settle() == []
    site.checks.connect(site.post)
    assert site.told == [{name_of(ONE): False}]
    assert repr(site.checks) == "<Checks 1, 1 unhealthy>"


class Model:
    """A verdict by the definition: look at all answers since the last one that said nothing."""

    def __init__(self, healthy: int, unhealthy: int) -> None:
        self.healthy, self.unhealthy = healthy, unhealthy
        self.answers: list[bool] = []

    def verdict(self) -> bool | None:
        for end in range(len(self.answers), 0, -1):
            for passed, needed in ((True, self.healthy), (False, self.unhealthy)):
                if end >= needed and all(answer is passed for answer in self.answers[end - needed : end]):
                    return passed
        return None


@given(
    st.lists(st.sampled_from((PASSED, FAILED, NOTHING)), max_size=60),
    st.integers(min_value=1, max_value=4),
    st.integers(min_value=1, max_value=4),
)
def test_verdicts_are_as_defined(results: list[str], healthy: int, unhealthy: int) -> None:
    streak, model = Streak(), Model(healthy, unhealthy)
    for result in results:
        before = streak.verdict
        changed = streak.add(result, healthy, unhealthy)
        if result == NOTHING:
            model.answers.clear()
        else:
            model.answers.append(result == PASSED)
        assert streak.verdict is model.verdict()
        assert changed == (streak.verdict is not before)
