"""The exchange by a protocol in memory: what time it has, and that what does not move ends."""

from __future__ import annotations

import pytest

from tests.support.memory import Scene, rule, shop


def test_a_request_timeout_covers_everything():
    scene = Scene(*shop(rule("v1", request_timeout=0.5)))
    caller = scene.ask()
    assert scene.attempt().fields[b"x-request-deadline"] == b"500ms"
    scene.clock.advance(0.49)
    assert not caller.over
    scene.clock.advance(0.03)
    assert (caller.status, scene.records[0].error) == (504, "deadline")
    assert scene.attempt().cancelled == "deadline"
    scene.check()


def test_a_deadline_cuts_an_answer_that_has_begun():
    scene = Scene(*shop(rule("v1", request_timeout=0.5)))
    caller = scene.ask()
    scene.attempt().answer(200)
    scene.clock.advance(0.6)
    assert (caller.was_reset, scene.records[0].status, scene.records[0].error) == ("deadline", 200, "deadline")
    scene.check()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ((b"x-request-deadline", b"200ms"), (b"x-request-deadline", b"200ms")),
        ((b"x-request-deadline", b"1h"), (b"x-request-deadline", b"500ms")),
        ((b"x-request-deadline", b"soon"), (b"x-request-deadline", b"500ms")),
        ((b"grpc-timeout", b"200m"), (b"grpc-timeout", b"200m")),
        ((b"grpc-timeout", b"1H"), (b"grpc-timeout", b"500m")),
    ],
)
def test_a_caller_can_only_shorten_the_time(asked, told):
    scene = Scene(*shop(rule("v1", request_timeout=0.5)))
    scene.ask(b"GET", b"/", asked)
    assert scene.attempt().fields[told[0]] == told[1]
    scene.attempt().answer(200, b"")
    scene.check()


def test_a_request_without_time_is_not_sent():
    scene = Scene(*shop())
    caller = scene.ask(b"GET", b"/", (b"x-request-deadline", b"0ms"))
    assert (caller.status, scene.attempts, scene.records[0].error) == (504, 0, "deadline")
    scene.check()


def test_what_does_not_move_ends():
    scene = Scene(*shop())
    caller = scene.ask()
    scene.clock.advance(59)
    assert not caller.over
    scene.clock.advance(62)
    assert (caller.status, scene.records[0].error) == (504, "idle")
    scene.check()


def test_a_caller_who_owes_its_body_is_judged_by_its_connection_first():
    scene = Scene(*shop())
    caller = scene.ask(b"POST", length=10)
    scene.clock.advance(62)
    assert not caller.over  # its connection has looked by now, and would have refused it
    scene.clock.advance(62)
    assert (caller.status, scene.records[0].error) == (504, "idle")
    scene.check()


def test_what_moves_a_little_goes_on():
    scene = Scene(*shop())
    caller = scene.ask()
    scene.attempt().answer(200)
    for _ in range(10):
        scene.clock.advance(50)
        scene.attempt().data(b".")
    assert not caller.over
    scene.attempt().end()
    scene.check()
