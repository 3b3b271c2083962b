"""Both proxies of a hop watch the time of a try: no matter which of them is the first to say that it is over."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.messages import ANSWERING
from sidewinder_sidecar.snapshot.routes import RetrySpec
from tests.support.memory import Scene, backend, rule, shop

RETRY = RetrySpec(attempts=1, conditions=("Timeout",), backoff=0.01, max_backoff=0.01)
CALLERS = ((b"x-request-deadline", b"1s"),)


class Ledger:
    """An observer that writes down."""

    def __init__(self):
        self.told = []

    def settled(self, status, error, now, seconds):
        self.told.append((status, error))


def scene_of(**options):
    scene, ledger = Scene(*shop(rule("v1", **options), backends=(backend("v1", 2),))), Ledger()
    for endpoint in scene.made:
        endpoint.watch(ledger)
    scene.fleet.backends["v1"].reshape(scene.clock())
    return scene, ledger


def end(scene, how, seconds):
    """The endpoint ends its answer after so many seconds, in which the wheel here has not turned."""
    attempt = scene.attempt()
    if how == "breaks off":
        attempt.answer(200)
    scene.clock.now += seconds
    if how == "breaks off":
        attempt.fail(ANSWERING, "incomplete")
    else:
        attempt.answer(504, b"late", whole=how == "504")


@pytest.mark.parametrize("seconds", [1.0, 0.9985], ids=["at its end", "as it was told, rounded down"])
@pytest.mark.parametrize("how", ["504", "504 in pieces", "breaks off"])
@pytest.mark.parametrize(
    ("options", "asked", "error", "told"),
    [
        pytest.param({"request_timeout": 1.0}, (), "deadline", "deadline", id="the route's"),
        pytest.param({"backend_timeout": 1.0}, (), "try_timeout", "try_timeout", id="a try's"),
        pytest.param({}, CALLERS, "deadline", "caller_gone", id="the caller's own"),
        pytest.param({"request_timeout": 2.0}, CALLERS, "deadline", "caller_gone", id="shorter than the route's"),
    ],
)
def test_whose_time_is_over_is_known_here(options, asked, error, told, how, seconds):
    scene, ledger = scene_of(**options)
    caller = scene.ask(b"GET", b"/", *asked)
    end(scene, how, seconds)
    assert [row[1] for row in ledger.told] == [told]
    assert scene.records[0].error == error
    assert caller.was_reset == (error if how == "breaks off" else "")
    scene.check()


@pytest.mark.parametrize("how", ["504", "504 in pieces", "breaks off"])
def test_before_that_the_endpoint_has_failed(how):
    scene, ledger = scene_of()
    scene.ask(b"GET", b"/", *CALLERS)
    end(scene, how, 0.99)
    assert ledger.told == [(0, "incomplete") if how == "breaks off" else (504, "")]


@pytest.mark.parametrize("how", ["504", "504 in pieces"])
def test_a_rule_that_retries_what_takes_too_long_does_so_in_either_case(how):
    scene, _ = scene_of(backend_timeout=1.0, retry=RETRY)
    caller = scene.ask()
    end(scene, how, 1.0)
    scene.clock.advance(0.1)
    scene.attempt(1).answer(200, b"ok", whole=True)
    assert (caller.status, scene.records[0].retries) == (200, 1)
    scene.check()


def test_a_504_that_comes_in_time_is_an_answer_like_any_other():
    scene, _ = scene_of(backend_timeout=1.0, retry=RETRY)
    caller = scene.ask()
    end(scene, "504", 0.99)
    assert (caller.status, caller.body, scene.records[0].retries) == (504, b"late", 0)
    scene.check()
