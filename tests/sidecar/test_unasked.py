"""Endpoints that could not be connected to: nobody was asked anything, so another try costs no budget."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sidewinder_sidecar.messages import CONNECT, REFUSED
from sidewinder_sidecar.resilience.retry import ATTEMPT
from sidewinder_sidecar.snapshot.routes import RetrySpec
from sidewinder_sidecar.snapshot.upstreams import BudgetSpec
from tests.support.memory import Scene, backend, rule, shop

RETRY = RetrySpec(attempts=2, conditions=("ConnectFailure", "ResetBeforeRequest"), backoff=0.025, max_backoff=0.25)
ONE = BudgetSpec(percent=0, min_count=1, min_interval=1000.0)  # a single retry
BACKOFF = 0.3  # longer than any


def scene_of(addresses: int) -> Scene:
    return Scene(*shop(rule("v1", retry=RETRY), backends=(backend("v1", addresses, budget=ONE),)))


def test_who_could_not_be_connected_to_was_not_asked_and_costs_no_budget() -> None:
    """As often as there are others; then it is a retry like any, and the next proxy is told so."""
    scene = scene_of(3)
    for _ in range(20):
        caller = scene.ask()
        for _ in range(2):
            scene.attempt().fail(CONNECT, "connect_refused")
            scene.clock.advance(BACKOFF)
        assert ATTEMPT not in scene.attempt().fields
        scene.attempt().answer(200, b"")
        assert (caller.status, scene.records[-1].retries) == (200, 2)
    target = scene.records[0].target
    assert (target.budget.retries(), target.budget.requests()) == (0, 20)
    scene.check()


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_no_rule_needs_to_ask_for_that(method: bytes) -> None:
    """As with an application that its own sidecar could not reach: a dead pod's callers are to see nothing of it."""
    scene = Scene(*shop(rule("v1"), backends=(backend("v1", 4),)))
    caller = scene.ask(method)
    for _ in range(2):
        scene.attempt().fail(CONNECT, "connect_timeout")
        scene.clock.advance(BACKOFF)
    scene.attempt().answer(200, b"")
    assert (caller.status, scene.records[0].retries) == (200, 2)
    caller = scene.ask(method)
    for _ in range(3):
        scene.attempt().fail(CONNECT, "connect_refused")
        scene.clock.advance(BACKOFF)
    assert (caller.status, scene.attempts) == (503, 6)
    assert scene.records[0].target.budget.retries() == 0
    scene.check()


@pytest.mark.parametrize(
    ("retry", "addresses", "error", "direction"),
    [
        pytest.param(None, 1, "connect_refused", "Outbound", id="nobody-else"),
        pytest.param(None, 3, "tls_failed", "Outbound", id="a-handshake-is-work"),
        pytest.param(None, 3, "connect_refused", "Inbound", id="our-own-application"),
        pytest.param(RetrySpec(attempts=2, conditions=("Reset",)), 3, "connect_refused", "Outbound", id="a-rule"),
    ],
)
def test_but_it_is_not_done_otherwise(retry: RetrySpec | None, addresses: int, error: str, direction: str) -> None:
    listener, *rest = shop(rule("v1", retry=retry), backends=(backend("v1", addresses),))
    scene = Scene(replace(listener, direction=direction), *rest)
    caller = scene.ask()
    scene.attempt().fail(CONNECT, error)
    scene.clock.advance(BACKOFF)
    assert (caller.response is not None, scene.attempts) == (True, 1)
    scene.check()


@pytest.mark.parametrize(
    ("addresses", "error", "stage"),
    [
        pytest.param(1, "connect_refused", CONNECT, id="nobody-else"),
        pytest.param(3, "tls_failed", CONNECT, id="a-handshake-is-work"),
        pytest.param(3, "reset_before_request", REFUSED, id="connected"),
    ],
)
def test_what_somebody_had_to_do_is_paid_for(addresses: int, error: str, stage: str) -> None:
    scene = scene_of(addresses)
    first = scene.ask()
    scene.attempt().fail(stage, error)
    scene.clock.advance(BACKOFF)
    assert scene.attempt().fields[ATTEMPT] == b"2"
    scene.attempt().answer(200, b"")
    second = scene.ask()
    scene.attempt().fail(stage, error)
    scene.clock.advance(BACKOFF)
    assert (first.status, second.response is not None, scene.attempts) == (200, True, 3)
    assert b"the retry budget of v1 is used up" in second.body
    scene.check()
