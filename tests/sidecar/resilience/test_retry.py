"""What a RetrySpec compiles to."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import ANSWERING, CONNECT, SENT, UNSENT, Failure, Request
from sidewinder_sidecar.resilience.retry import NONE, STALE, Policy, is_stale
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
