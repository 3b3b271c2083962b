"""What a RetrySpec compiles to."""

from __future__ import annotations

import time
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import ANSWERING, CONNECT, SENT, UNSENT, Failure, Request, Response
from sidewinder_sidecar.resilience.retry import ATTEMPT, NONE, STALE, Policy, asked, came, is_stale
from sidewinder_sidecar.snapshot.routes import RetrySpec


@pytest.mark.parametrize(
    ("method", "pairs", "upgrade", "allowed"),
    [
        (b"GET", (), b"", True),
        (b"HEAD", (), b"", True),
        (b"OPTIONS", (), b"", True),
        (b"PUT", (), b"", True),
        (b"DELETE", (), b"", True),
        (b"POST", (), b"", False),
        (b"PATCH", (), b"", False),
        (b"get", (), b"", False),
        (b"POST", ((b"Idempotency-Key", b"1"),), b"", True),
        (b"CONNECT", (), b"connect", False),
        (b"GET", (), b"websocket", True),
    ],
)
def test_what_may_be_sent_twice(method, pairs, upgrade, allowed):
    request = Request(method, b"/", b"h", fields(*pairs))
    request.upgrade = upgrade
    assert Policy(RetrySpec()).allows(request) is allowed
    assert NONE.allows(request) is allowed


def test_a_rule_may_name_other_methods():
    policy = Policy(RetrySpec(methods=("POST",)))
    assert policy.allows(Request(b"POST", b"/", b"h", fields()))
    assert not policy.allows(Request(b"GET", b"/", b"h", fields()))


def test_attempts_are_counted_and_answers_that_began_are_never_covered():
    policy = Policy(RetrySpec(attempts=2, conditions=("ConnectFailure", "Reset", "Timeout")))
    refused = Failure(CONNECT, "connect_refused")
    assert [policy.covers(refused, retries) for retries in range(4)] == [True, True, False, False]
    assert policy.covers(Failure(SENT, "try_timeout"), 0)
    assert not policy.covers(Failure(ANSWERING, "try_timeout"), 0)
    assert not policy.covers(Failure(SENT, "incomplete"), 0)
    assert not NONE.covers(refused, 0)


def test_full_jitter_doubles_up_to_the_largest():
    policy = Policy(RetrySpec(backoff=0.1, max_backoff=0.5))
    for retries, most in ((0, 0.1), (1, 0.2), (2, 0.4), (3, 0.5), (1000, 0.5)):
        delays = [policy.delay(retries) for _ in range(2000)]
        assert 0 <= min(delays) < most * 0.05
        assert most * 0.95 < max(delays) <= most
        assert sum(delays) / len(delays) == pytest.approx(most / 2, rel=0.1)


def test_stale_is_a_kept_connection_and_bounded():
    assert is_stale(Failure(UNSENT, "reset_before_request"), 0)
    assert not is_stale(Failure(UNSENT, "reset_before_request"), STALE)
    assert not is_stale(Failure(SENT, "reset"), 0)


WALL = 784111777.0  # 6 November 1994, 08:49:37 GMT: RFC 9110's own example
THEN = b"Sun, 06 Nov 1994 08:50:07 GMT"  # half a minute later


@pytest.mark.parametrize(
    ("status", "pairs", "seconds"),
    [
        (503, (), 0.0),
        (503, ((b"Retry-After", b"120"),), 120.0),
        (503, ((b"Retry-After", b" 7 "),), 7.0),
        (503, ((b"Retry-After", b"0"),), 0.0),
        (503, ((b"Retry-After", b"-5"),), 0.0),
        (503, ((b"Retry-After", b"1.5"),), 1.5),
        (503, ((b"Retry-After", b"1."),), 0.0),
        (503, ((b"Retry-After", b"1e9"),), 0.0),
        (503, ((b"Retry-After", b"soon"),), 0.0),
        (503, ((b"Retry-After", b"10000000000"),), 1e10),
        (503, ((b"Retry-After", b"9" * 400),), inf),
        (503, ((b"Retry-After", b"Sun, 06 Nov 99999 08:50:07 GMT"),), 0.0),
        (503, ((b"Retry-After", b"\xff\xfe"),), 0.0),
        (503, ((b"Retry-After", THEN),), 30.0),
        (503, ((b"Retry-After", b"Sunday, 06-Nov-94 08:50:07 GMT"),), 30.0),
        (503, ((b"Retry-After", b"Sun Nov  6 08:50:07 1994"),), 30.0),
        (503, ((b"Retry-After", THEN), (b"Date", b"Sun, 06 Nov 1994 08:50:00 GMT")), 7.0),
        (503, ((b"Retry-After", THEN), (b"Date", b"rubbish")), 30.0),
        (503, ((b"Retry-After", b"Sun, 06 Nov 1994 08:49:00 GMT"),), 0.0),
        (429, ((b"RateLimit-Reset", b"42"),), 42.0),
        (429, ((b"RateLimit-Reset", b"42"), (b"Retry-After", b"50")), 50.0),
        (429, ((b"RateLimit-Reset", b"42"), (b"Retry-After", b"5")), 42.0),
        (429, ((b"RateLimit-Reset", b"2024-01-01"),), 0.0),
        (429, ((b"RateLimit", b'"default";r=0;t=30'),), 30.0),
        (429, ((b"RateLimit", b'"burst";r=5;t=2, "day";r=0;t=600'),), 600.0),
        (429, ((b"RateLimit", b'"day";t=600; r=0'),), 600.0),
        (429, ((b"RateLimit", b'"default";r=10;t=30'),), 0.0),
        (429, ((b"RateLimit", b'"a";r=0;t=3'), (b"RateLimit", b'"b";r=0;t=9')), 9.0),
        (429, ((b"RateLimit", b'"a";r=00;t=3'),), 0.0),
        (429, ((b"RateLimit", b"r=0;t=3"),), 0.0),
        (429, ((b"RateLimit", b",;,=,;r=0;,;;t"),), 0.0),
        (503, ((b"RateLimit-Reset", b"42"),), 0.0),
        (200, ((b"RateLimit", b'"default";r=0;t=30'),), 0.0),
    ],
)
def test_what_the_upstream_asks_for(status, pairs, seconds):
    assert asked(Response(status, fields(*pairs)), WALL) == pytest.approx(seconds)


def test_a_date_without_a_zone_is_no_local_time(monkeypatch):
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        assert asked(Response(503, fields((b"Retry-After", b"Sun Nov  6 08:50:07 1994"))), WALL) == 30.0
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("piece", [b";r=0", b"; ", b",", b";t=", b'"a";r=0;t=1, ', b"9"])
@pytest.mark.parametrize("name", [b"RateLimit", b"RateLimit-Reset", b"Retry-After"])
def test_who_answers_cannot_keep_us_busy(name, piece):
    """An expression that looked ahead took 25 s for this, with everybody's requests waiting."""
    answer = Response(429, fields((name, piece * (65_000 // len(piece)))))
    began = time.process_time()
    assert asked(answer, WALL) >= 0.0
    assert time.process_time() - began < 0.5, "10 ms on a machine at rest"


@given(st.lists(st.sampled_from([*"0:,-+", "Sun,", "06", "Nov", "1994", "08:49:37", "GMT", "é", "\0", "9" * 30])))
def test_no_date_is_a_bug(words):
    value = " ".join(words).encode("latin-1")
    assert asked(Response(503, fields((b"Retry-After", value), (b"Date", value[::-1]))), WALL) >= 0.0


@pytest.mark.parametrize(
    ("value", "believed", "number"),
    [(b"2", True, 2), (b"99", True, 99), (b"100", True, 0), (b"1", True, 0), (b"x", True, 0), (b"2", False, 0)],
)
def test_which_try_it_is(value, believed, number):
    found = fields((b"X-Sidewinder-Attempt", value))
    assert came(found, believed) == number
    assert (ATTEMPT in found) is bool(number)
