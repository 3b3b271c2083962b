"""What is tried again, what is not, and what the caller is told then. Clock and both protocols are in memory."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.messages import ANSWERING, CONNECT, REFUSED, SENT, UNSENT
from sidewinder_sidecar.replay import BOUND
from sidewinder_sidecar.rescue import MOST_DISCARDED
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.routes import RetrySpec, WeightedBackend
from sidewinder_sidecar.snapshot.upstreams import BudgetSpec
from tests.support.memory import Scene, backend, rule, shop
from tests.support.retries import BACKOFF, RETRY, scene_of


def test_a_refused_connection_is_tried_elsewhere_after_a_moment():
    scene = scene_of()
    caller = scene.ask()
    first = scene.attempt()
    first.fail(CONNECT, "connect_refused")
    assert scene.attempts == 1  # not at once, and not from inside the failure
    scene.clock.advance(BACKOFF)
    second = scene.attempt()
    assert scene.attempts == 2
    assert second.endpoint is not first.endpoint
    second.answer(200, b"ok")
    assert (caller.status, caller.body) == (200, b"ok")
    [call] = scene.records
    assert (call.retries, call.error, call.address) == (1, "", second.endpoint.address)
    scene.check()


def test_all_that_failed_are_avoided_and_the_attempts_are_counted():
    scene = scene_of()
    caller = scene.ask()
    for _ in range(3):
        scene.attempt().fail(CONNECT, "connect_refused", "nobody listens")
        scene.clock.advance(BACKOFF)
    assert len({attempt.endpoint for attempt in scene.opened}) == scene.attempts == 3
    assert (caller.status, scene.records[0].error, scene.records[0].retries) == (503, "connect_refused", 2)
    assert b"nobody listens" in caller.body
    scene.check()


def test_a_single_endpoint_is_tried_again():
    scene = scene_of(addresses=1)
    caller = scene.ask()
    scene.attempt().fail(CONNECT, "connect_refused")
    scene.clock.advance(BACKOFF)
    scene.attempt().answer(200, b"")
    assert (caller.status, scene.attempts) == (200, 2)
    scene.check()


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("status", [502, 503, 504])
def test_an_answer_that_is_retried_is_read_and_thrown_away(status, whole):
    scene = scene_of()
    caller = scene.ask()
    scene.attempt().answer(status, b"sorry", whole=whole)
    assert caller.response is None
    assert scene.attempt().cancelled is None  # read to its end: the connection is kept
    scene.clock.advance(BACKOFF)
    scene.attempt().answer(200, b"fine")
    assert (caller.status, caller.body, scene.records[0].bytes_out) == (200, b"fine", 4)
    scene.check()


@pytest.mark.parametrize("how", ["told", "found"])
def test_a_large_answer_that_is_retried_is_not_read(how):
    scene = scene_of()
    scene.ask()
    attempt = scene.attempt()
    if how == "told":
        attempt.answer(503, b"x" * (MOST_DISCARDED + 1))
    else:
        attempt.answer(503)
        for _ in range(5):
            if not attempt.over:
                attempt.data(b"x" * 16384)
    assert attempt.cancelled == "retried"
    scene.clock.advance(BACKOFF)
    scene.attempt().answer(200, b"")
    scene.check()


def test_an_answer_that_does_not_end_is_given_up_when_the_next_try_begins():
    scene = scene_of()
    caller = scene.ask()
    attempt = scene.attempt()
    attempt.answer(503)
    scene.clock.advance(BACKOFF)
    assert attempt.cancelled == "retried"
    scene.attempt().answer(200, b"")
    assert caller.status == 200
    scene.check()


def test_an_answer_that_is_thrown_away_may_break_off():
    scene = scene_of()
    caller = scene.ask()
    scene.attempt().answer(503)
    scene.attempt().fail(ANSWERING, "incomplete")
    scene.clock.advance(BACKOFF)
    scene.attempt().answer(200, b"")
    assert caller.status == 200
    scene.check()


def test_the_last_answer_is_passed_on_as_it_came():
    scene = scene_of(RetrySpec(attempts=1, codes=(503,)))
    caller = scene.ask()
    scene.attempt().answer(503, b"first")
    scene.clock.advance(BACKOFF)
    scene.attempt().answer(503, b"second")
    assert (caller.status, caller.body, scene.records[0].error) == (503, b"second", "")
    scene.check()


@pytest.mark.parametrize(
    ("method", "pairs", "again"),
    [
        (b"GET", (), True),
        (b"PUT", (), True),
        (b"DELETE", (), True),
        (b"POST", (), False),
        (b"PATCH", (), False),
        (b"POST", ((b"Idempotency-Key", b"7"),), True),
    ],
)
@pytest.mark.parametrize("stage", [CONNECT, UNSENT])
def test_only_what_may_be_sent_twice_is_or_what_was_never_sent(method, pairs, again, stage):
    scene = scene_of()
    caller = scene.ask(method, b"/", *pairs)
    scene.attempt().fail(stage, "connect_refused" if stage == CONNECT else "reset_before_request")
    scene.clock.advance(BACKOFF)
    again = again or stage == CONNECT
    assert scene.attempts == (2 if again else 1)
    if again:
        scene.attempt().answer(200, b"")
    assert caller.status == (200 if again else 503)
    scene.check()


@pytest.mark.parametrize("whole", [False, True], ids=["more-comes", "whole"])
def test_an_upload_that_never_left_goes_elsewhere(whole):
    """It is too large to be kept, but nothing of it was sent: what one read has brought waits for a connection."""
    scene = scene_of()
    caller = scene.ask(b"POST", length=BOUND + (100 if whole else 200_000), body=None)
    scene.attempt().connected = scene.attempt().writable = False
    for piece in (b"a" * BOUND, b"b" * 100):
        caller.exchange.on_request_data(piece)
    if whole:
        caller.exchange.on_request_end(None)
    scene.attempt().fail(CONNECT, "connect_refused")
    scene.clock.advance(BACKOFF)
    second = scene.attempt()
    assert (scene.attempts, second.body, second.ended) == (2, b"a" * BOUND + b"b" * 100, whole)
    if not whole:
        for _ in range(2):
            caller.exchange.on_request_data(b"c" * 99_950)
        assert caller.exchange.replay is None, "on its way, it is not kept"
        caller.exchange.on_request_end(None)
    second.answer(200, b"")
    assert caller.status == 200
    scene.check()


def test_an_upload_of_which_something_left_is_gone():
    scene = scene_of()
    caller = scene.ask(b"PUT", length=BOUND + 100, body=None)
    caller.exchange.on_request_data(b"a" * (BOUND + 50))
    scene.attempt().fail(CONNECT, "tls_failed")
    assert (scene.attempts, caller.status) == (1, 502)
    assert b"too large to be kept" in caller.body
    scene.check()


@pytest.mark.parametrize(
    ("conditions", "stage", "error", "again"),
    [
        (("ConnectFailure",), CONNECT, "connect_timeout", True),
        (("ConnectFailure",), CONNECT, "dns_error", True),
        (("ConnectFailure",), SENT, "reset", False),
        (("Reset",), SENT, "reset", True),
        (("Reset",), CONNECT, "connect_refused", False),
        (("ResetBeforeRequest",), REFUSED, "reset_before_request", True),
        ((), CONNECT, "connect_refused", False),
        (("ConnectFailure", "ResetBeforeRequest", "Reset", "Timeout"), SENT, "upstream_protocol", True),
    ],
)
def test_conditions(conditions, stage, error, again):
    scene = scene_of(RetrySpec(attempts=1, conditions=conditions))
    scene.ask()
    scene.attempt().fail(stage, error)
    scene.clock.advance(BACKOFF)
    assert scene.attempts == 1 + again
    if again:
        scene.attempt().answer(200, b"")
    scene.check()


def test_a_stale_connection_costs_a_safe_request_nothing_even_without_a_policy():
    scene = scene_of(None, addresses=1)
    caller = scene.ask()
    for _ in range(2):
        scene.attempt().fail(UNSENT, "reset_before_request")
        scene.clock.advance(0.05)
    scene.attempt().answer(200, b"")
    assert (caller.status, scene.records[0].retries) == (200, 2)
    unlucky = scene.ask()
    for _ in range(3):
        scene.attempt().fail(UNSENT, "reset_before_request")
        scene.clock.advance(0.05)
    assert unlucky.status == 503
    scene.check()


def test_after_the_answer_has_begun_nothing_is_retried():
    scene = scene_of(RetrySpec(attempts=2, conditions=("Reset", "Timeout", "ConnectFailure", "ResetBeforeRequest")))
    caller = scene.ask()
    scene.attempt().answer(200)
    scene.attempt().fail(ANSWERING, "incomplete")
    scene.clock.advance(BACKOFF)
    assert (scene.attempts, caller.was_reset) == (1, "incomplete")
    scene.check()


# Time and budget


def test_a_try_timeout_is_retried_where_the_rule_says_so():
    scene = scene_of(RetrySpec(attempts=1, conditions=("Timeout",)), backend_timeout=0.5, request_timeout=2.0)
    caller = scene.ask()
    assert scene.attempt().fields[b"x-request-deadline"] == b"500ms"
    scene.clock.advance(0.55)
    assert scene.attempt(0).cancelled == "try_timeout"
    scene.clock.advance(BACKOFF)
    assert scene.attempts == 2
    scene.attempt().answer(200, b"")
    assert caller.status == 200
    scene.check()


def test_code_504_covers_a_try_timeout():
    scene = scene_of(RetrySpec(attempts=1, codes=(504,), conditions=()), backend_timeout=0.5)
    scene.ask()
    scene.clock.advance(0.55 + BACKOFF)
    assert scene.attempts == 2
    scene.attempt().answer(200, b"")
    scene.check()


def test_a_try_timeout_without_a_policy_is_an_answer():
    scene = scene_of(None, backend_timeout=0.5)
    caller = scene.ask()
    scene.clock.advance(0.55)
    assert (caller.status, scene.records[0].error) == (504, "try_timeout")
    scene.check()


def test_a_try_timeout_cuts_an_answer_that_has_begun():
    scene = scene_of(RetrySpec(attempts=1, conditions=("Timeout",)), backend_timeout=0.5)
    caller = scene.ask()
    scene.attempt().answer(200)
    scene.clock.advance(0.55)
    assert (caller.was_reset, scene.attempts) == ("try_timeout", 1)
    scene.check()


def test_the_deadline_shrinks_over_tries_and_backoff():
    scene = scene_of(RetrySpec(attempts=1, codes=(503,), backoff=0.0), request_timeout=2.0)
    scene.ask()
    assert scene.attempt().fields[b"x-request-deadline"] == b"2000ms"
    scene.clock.advance(1.5)
    scene.attempt().answer(503, b"")
    scene.clock.advance(0.05)
    left = int(scene.attempt().fields[b"x-request-deadline"].removesuffix(b"ms"))
    assert 450 < left <= 500
    scene.attempt().answer(200, b"")
    scene.check()


def test_no_try_starts_that_cannot_end_in_time():
    scene = scene_of(RetrySpec(attempts=5, codes=(503,), backoff=10.0, max_backoff=10.0), request_timeout=0.004)
    caller = scene.ask()
    scene.attempt().fail(CONNECT, "connect_refused")
    assert scene.attempts == 1
    if not caller.over:  # the jitter was below the four milliseconds that were left: the wheel ends it
        scene.clock.advance(0.05)
    assert scene.attempts == 1
    assert caller.status in (503, 504)
    scene.check()


def test_a_budget_that_is_used_up_is_told_and_the_answer_passes():
    scene = scene_of(RetrySpec(attempts=1, codes=(503,)), budget=BudgetSpec(percent=0, min_count=1, min_interval=10.0))
    first = scene.ask()
    scene.attempt().answer(503, b"a")
    scene.clock.advance(BACKOFF)
    scene.attempt().answer(503, b"b")
    assert first.body == b"b"
    second = scene.ask()
    scene.attempt().answer(503, b"c")
    assert (second.status, second.body) == (503, b"c")
    assert "retry budget of v1 is used up" in scene.records[1].detail
    third = scene.ask()
    scene.attempt().fail(REFUSED, "reset_before_request", "not read")
    assert b"not read; not retried: the retry budget of v1 is used up" in third.body
    scene.check()


def test_retries_stay_in_the_backend_that_was_chosen():
    both = (backend("v1", 2), backend("v2", 2))
    shares = [WeightedBackend(backend="v1"), WeightedBackend(backend="v2")]
    scene = Scene(*shop(rule(*shares, retry=RETRY), backends=both))
    for _ in range(20):
        scene.ask()
        first = scene.attempt()
        first.fail(CONNECT, "connect_refused")
        scene.clock.advance(BACKOFF)
        second = scene.attempt()
        assert second.endpoint.spec.uid[:2] == first.endpoint.spec.uid[:2]
        assert second.endpoint is not first.endpoint
        second.answer(200, b"")
    scene.check()


def test_endpoints_that_go_away_during_the_backoff():
    scene = scene_of()
    caller = scene.ask()
    scene.attempt().fail(CONNECT, "connect_refused")
    scene.adopt(*shop(rule("v1", retry=RETRY), backends=(backend("v1", 0),)))
    scene.clock.advance(BACKOFF)
    assert (caller.status, scene.records[0].error) == (503, "no_endpoints")
    scene.check()


def test_a_caller_that_goes_during_the_backoff_is_not_served():
    scene = scene_of()
    caller = scene.ask()
    scene.attempt().answer(503)
    caller.exchange.on_caller_gone("caller_gone")
    scene.clock.advance(BACKOFF)
    assert scene.attempts == 1
    assert scene.attempt().cancelled is not None
    scene.check()


def test_every_try_is_told_with_its_own_span():
    scene = Scene(
        ProxySpec(name="test", namespace="shop", trace_percent=100.0),
        *shop(rule("v1", retry=RETRY), backends=(backend("v1", 2),)),
    )
    scene.ask()
    scene.attempt().fail(CONNECT, "connect_refused")
    scene.clock.advance(BACKOFF)
    scene.attempt().answer(503, b"")
    scene.clock.advance(BACKOFF)
    scene.attempt().answer(200, b"")
    tries = scene.records[0].tries
    assert [(one.status, one.error) for one in tries] == [(0, "connect_refused"), (503, ""), (200, "")]
    assert len({one.span_id for one in tries}) == 3
    assert [attempt.fields[b"traceparent"][36:52] for attempt in scene.opened] == [one.span_id for one in tries]
    assert all(one.started <= one.ended for one in tries)
    scene.check()


def test_the_wheel_is_empty_when_all_is_over():
    scene = scene_of(request_timeout=5.0)
    for _ in range(10):
        scene.ask()
        scene.attempt().answer(200, b"")
    assert len(scene.wheel) == 0
    scene.clock.advance(120)
    assert scene.clock.armed == 0
    scene.check()
