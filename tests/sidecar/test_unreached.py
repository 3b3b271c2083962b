"""A server's sidecar that never reached its application says so, and the caller's sidecar makes up for it: `rescue`."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sidewinder_sidecar.messages import CONNECT, SENT
from sidewinder_sidecar.replay import BOUND
from sidewinder_sidecar.rescue import UNREACHED
from sidewinder_sidecar.snapshot.routes import RetrySpec
from sidewinder_sidecar.snapshot.upstreams import BudgetSpec
from tests.support.memory import Attempt, Scene, backend, listener, rule, service, shop

MARK = (b"X-Sidewinder-Unreached", b"1")
SOON = 0.3  # longer than any pause before a retry
POOR = BudgetSpec(percent=0, min_count=0)


def client(retry=None, addresses=3, **options):
    return Scene(*shop(rule("v1", retry=retry), backends=(backend("v1", addresses, **options),)))


def server():
    """Its listener is inbound and leads to the application alone."""
    spec = replace(listener(default_service="app", services=("app",)), direction="Inbound")
    return Scene(spec, service(name="app", backend="v1"), *backend("v1"))


@pytest.mark.parametrize("error", ["connect_refused", "connect_failed", "connect_timeout"])
def test_an_application_that_is_not_reached_is_told_with_the_mark(error):
    scene = server()
    caller = scene.ask(authority=b"anything")
    scene.attempt().fail(CONNECT, error)
    assert caller.status in (503, 504)
    assert caller.header(UNREACHED) == b"1"
    scene.check()


def test_one_that_has_got_the_request_is_not():
    scene = server()
    caller = scene.ask(authority=b"anything")
    scene.attempt().fail(SENT, "reset")
    assert (caller.status, caller.header(UNREACHED)) == (502, None)
    scene.check()


def test_only_inbound_is_it_said():
    scene = client()
    caller = scene.ask()
    for _ in range(3):
        scene.attempt().fail(CONNECT, "connect_refused")
        scene.clock.advance(1)
    assert (caller.status, caller.header(UNREACHED)) == (503, None)
    scene.check()


def test_an_applications_own_mark_goes_no_further():
    scene = server()
    caller = scene.ask(authority=b"anything")
    scene.attempt().answer(503, b"mine", MARK)
    assert (caller.status, caller.header(UNREACHED), scene.attempts) == (503, None, 1)
    scene.check()


@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize("body", [b"", b"an order"])
def test_any_method_goes_to_another_endpoint_without_being_asked_for(method, body):
    scene = client(budget=POOR)
    caller = scene.ask(method, body=body)
    first = scene.attempt()
    first.answer(503, b"unreached", MARK)
    assert caller.response is None
    scene.clock.advance(SOON)
    second = scene.attempt()
    assert (second.method, second.body, second.ended) == (method, body, True)
    assert second.endpoint is not first.endpoint
    second.answer(200, b"done")
    assert (caller.status, caller.body, scene.records[0].retries) == (200, b"done", 1)
    scene.check()


def test_not_for_ever_and_nobody_gets_to_see_the_mark():
    scene = client()
    caller = scene.ask(b"POST")
    while caller.response is None:
        scene.attempt().answer(503, b"unreached", MARK)
        scene.clock.advance(SOON)
    assert (caller.status, caller.header(UNREACHED), caller.body) == (503, None, b"unreached")
    assert scene.attempts == 3
    scene.check()


def test_a_rule_that_retries_failed_connections_goes_on_with_its_own():
    scene = client(RetrySpec(attempts=2))
    caller = scene.ask(b"POST")
    while caller.response is None:
        scene.attempt().answer(503, b"", MARK)
        scene.clock.advance(SOON)
    assert scene.attempts == 1 + 2 + 2
    scene.check()


def test_a_body_that_could_not_be_kept_is_not_sent_again():
    scene = client()
    caller = scene.ask(b"POST", length=BOUND + 1)
    caller.exchange.on_request_data(b"x" * (BOUND + 1))
    caller.exchange.on_request_end(None)
    scene.attempt().answer(503, b"", MARK)
    assert (caller.status, scene.attempts) == (503, 1)
    assert scene.records[0].detail == "not retried: the body was too large to be kept"
    scene.check()


def test_a_stranger_cannot_have_a_request_sent_twice():
    scene = Scene(listener(pass_through=True), service(backend="v1"), *backend("v1"))
    caller = scene.ask(b"POST", authority=b"stranger.example")
    scene.attempt().answer(503, b"again!", MARK)
    scene.clock.advance(SOON)
    assert (caller.status, caller.header(UNREACHED), scene.attempts) == (503, None, 1)
    scene.check()


def test_an_answer_that_is_no_failure_is_none_with_the_mark_either():
    scene = client()
    caller = scene.ask(b"POST")
    scene.attempt().answer(200, b"fine", MARK)
    assert (caller.status, scene.attempts) == (200, 1)
    scene.check()


def test_keeping_a_body_does_not_part_it_from_its_head(monkeypatch):
    pieces = []
    monkeypatch.setattr(Attempt, "send_data", lambda self, data: pieces.append(data) or True)
    client().ask(b"POST", body=b"an order")
    assert pieces == [b"an order"]  # an empty one before it would have let the head go alone
