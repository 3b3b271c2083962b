"""Bodies of what is tried again: kept up to a bound, sent once more, and never while half of one is away."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.messages import CONNECT, SENT
from sidewinder_sidecar.replay import BOUND
from sidewinder_sidecar.snapshot.routes import RetrySpec
from tests.support.retries import BACKOFF, scene_of


def test_a_body_is_sent_again_whole_with_what_came_meanwhile():
    scene = scene_of()
    caller = scene.ask(b"PUT", b"/", length=None, body=None)
    caller.exchange.on_request_data(b"one ")
    scene.attempt().fail(CONNECT, "connect_refused")
    assert caller.paused
    caller.exchange.on_request_data(b"two ")
    scene.clock.advance(BACKOFF)
    assert not caller.paused
    caller.exchange.on_request_data(b"three")
    caller.exchange.on_request_end(None)
    assert (scene.attempt().body, scene.attempt().ended) == (b"one two three", True)
    scene.attempt().fail(CONNECT, "connect_refused")
    scene.clock.advance(BACKOFF)
    assert (scene.attempt().body, scene.attempt().ended) == (b"one two three", True)
    scene.attempt().answer(200, b"")
    assert scene.records[0].bytes_in == 13
    scene.check()


def test_a_body_that_has_not_begun_hinders_no_retry():
    scene = scene_of()
    caller = scene.ask(b"PUT", b"/", (b"Expect", b"100-continue"), length=BOUND + 1, body=None)
    scene.attempt().fail(CONNECT, "connect_refused")
    scene.clock.advance(BACKOFF)
    caller.exchange.on_request_data(b"x" * (BOUND + 1))
    caller.exchange.on_request_end(None)
    assert len(scene.attempt().body) == BOUND + 1
    scene.attempt().answer(200, b"")
    scene.check()


@pytest.mark.parametrize("length", [BOUND + 1, None])
def test_a_body_beyond_the_bound_is_not_kept_and_not_retried(length):
    scene = scene_of()
    caller = scene.ask(b"PUT", b"/", length=length, body=None)
    for _ in range(5):
        caller.exchange.on_request_data(b"x" * (BOUND // 4))
    assert not caller.exchange.replayable
    assert caller.exchange.replay is None
    scene.attempt().fail(SENT, "reset")
    scene.clock.advance(BACKOFF)
    assert (scene.attempts, caller.status) == (1, 502)
    scene.check()


def test_a_large_body_is_told_as_the_reason():
    scene = scene_of(RetrySpec(attempts=1, conditions=("Reset",)))
    caller = scene.ask(b"PUT", b"/", body=b"x" * (BOUND + 1))
    scene.attempt().fail(SENT, "reset")
    assert b"too large to be kept" in caller.body
    assert "too large to be kept" in scene.records[0].detail
    scene.check()


def test_a_try_that_takes_no_more_stops_the_caller_also_while_replaying():
    scene = scene_of(addresses=1)
    caller = scene.ask(b"PUT", b"/", length=None, body=None)
    caller.exchange.on_request_data(b"abc")
    opened = scene.opened
    scene.attempt().fail(CONNECT, "connect_refused")
    endpoint = scene.made[0]
    open_one = endpoint.open

    def open_full(request, receiver):
        attempt = open_one(request, receiver)
        attempt.writable = False
        return attempt

    endpoint.open = open_full
    scene.clock.advance(BACKOFF)
    assert len(opened) == 2
    assert caller.paused
    scene.attempt().write_on()
    assert not caller.paused
    caller.exchange.on_request_end(None)
    scene.attempt().answer(200, b"")
    scene.check()
