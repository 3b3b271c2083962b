"""When an exchange is looked at: its age. `test_rescue` and `test_exchange_time` have deadlines and stalls."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.settings import Limits
from tests.support.memory import Scene, rule, shop


def scene_of(seconds, **options):
    return Scene(*shop(rule("v1", **options)), limits=Limits(stream_seconds=seconds))


@pytest.mark.parametrize("seconds", [5, 90, 500])
def test_an_answer_that_never_ends_is_cut_at_its_age_however_much_moves(seconds):
    scene = scene_of(seconds)
    caller = scene.ask()
    scene.attempt().answer(200)
    for _ in range(seconds * 2 - 1):
        scene.clock.advance(0.5)
        scene.attempt().data(b"x")
    assert not caller.over
    scene.clock.advance(0.6)
    assert caller.was_reset == "deadline"
    assert scene.attempt().cancelled == "deadline"
    assert scene.records[0].detail.endswith("s are over")
    scene.check()


def test_so_is_a_tunnel():
    scene = scene_of(100)
    caller = scene.ask(upgrade=b"websocket")
    scene.attempt().open_tunnel()
    for _ in range(99):
        scene.clock.advance(1)
        scene.attempt().data(b"x")
    assert not caller.was_reset
    scene.clock.advance(1.1)
    assert caller.was_reset == "deadline"
    scene.check()


def test_what_has_not_begun_is_told_so():
    scene = scene_of(5)
    caller = scene.ask()
    scene.clock.advance(5.1)
    assert (caller.status, scene.records[0].error) == (504, "deadline")
    scene.check()


def test_a_shorter_time_of_the_route_comes_first():
    scene = scene_of(50, request_timeout=1.0)
    caller = scene.ask()
    scene.clock.advance(1.1)
    assert caller.status == 504
    scene.check()


def test_the_upstream_is_not_told_of_an_age_that_is_nobodys_deadline():
    scene = scene_of(5)
    scene.ask()
    assert b"x-request-deadline" not in scene.attempt().fields
