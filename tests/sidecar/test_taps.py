"""What a tap hears of an exchange, and that it hears the end of it once, whatever happens."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import ANSWERING, CONNECT, WAIT, Reply
from sidewinder_sidecar.snapshot.filters import FieldValue, ResponseHeaders
from sidewinder_sidecar.snapshot.routes import RetrySpec
from tests.support.memory import Scene, rule, shop


class Tap:
    """Writes down what it hears."""

    def __init__(self):
        self.heard = []

    def send_data(self, data):
        self.heard.append(("data", data))
        return True

    def send_end(self, trailers=None):
        self.heard.append(("end", trailers.get(b"x-sum") if trailers is not None else None))

    def answer(self, response, body):
        self.heard.append(("answer", response.status, [row[0] for row in response.fields], body))

    def answer_data(self, data):
        self.heard.append(("answer_data", data))

    def over(self, error):
        self.heard.append(("over", error))


def tapped(*filters, taps=1, **options):
    """A scene whose rule has `filters` and then one that listens with so many taps."""
    scene = Scene(*shop(rule("v1", **options)))
    made = [Tap() for _ in range(taps)]

    def listen(call):
        for tap in made:
            call.listen(tap)

    route = scene.proxy.plan.routes["shop/reviews"].entries[0].route
    route.filters = (*filters, listen)
    return scene, *made


def test_the_request_and_the_answer_as_they_come():
    edit = ResponseHeaders(set=(FieldValue("x-ours", "1"),))
    scene, tap = tapped(filters=(edit,))
    caller = scene.ask(b"POST", length=None, body=None)
    caller.exchange.on_request_data(b"one")
    caller.exchange.on_request_data(b"two")
    caller.exchange.on_request_end(fields((b"x-sum", b"6")))
    scene.attempt().answer(200, None, (b"x-theirs", b"1"))
    scene.attempt().data(b"three")
    scene.attempt().end()
    assert tap.heard == [
        ("data", b"one"),
        ("data", b"two"),
        ("end", b"6"),
        ("answer", 200, [b"x-theirs"], None),
        ("answer_data", b"three"),
        ("over", ""),
    ]
    assert caller.header(b"x-ours") == b"1"
    scene.check()


def test_without_a_body_it_is_ended_at_once_and_a_whole_answer_is_one():
    scene, tap, other = tapped(taps=2)
    scene.ask()
    scene.attempt().answer(200, b"ok", whole=True)
    assert tap.heard == [("end", None), ("answer", 200, [], b"ok"), ("over", "")]
    assert other.heard == tap.heard
    scene.check()


@pytest.mark.parametrize("ended", [False, True])
def test_what_came_while_a_filter_waited_is_told_too(ended):
    def wait(call):
        call.waiting_on = None
        return WAIT

    scene, tap = tapped(wait)
    caller = scene.ask(b"POST", length=5, body=None)
    caller.exchange.on_request_data(b"ear")
    if ended:
        caller.exchange.on_request_data(b"ly")
        caller.exchange.on_request_end(None)
    caller.exchange.resume()
    if not ended:
        caller.exchange.on_request_data(b"ly")
        caller.exchange.on_request_end(None)
    assert tap.heard == [("data", b"ear"), ("data", b"ly"), ("end", None)]
    scene.attempt().answer(200, b"")
    scene.check()


def test_only_the_answer_that_the_caller_gets_is_told():
    retry = RetrySpec(codes=(503,), backoff=0.0, max_backoff=0.0, attempts=2)
    scene, tap = tapped(retry=retry)
    scene.ask()
    scene.attempt().fail(CONNECT, "connect_refused")
    scene.clock.advance(0.1)
    scene.attempt().answer(503, b"no")
    scene.clock.advance(0.1)
    scene.attempt().answer(200, b"")
    assert tap.heard == [("end", None), ("answer", 200, [], b""), ("over", "")]
    scene.check()


@pytest.mark.parametrize("how", ["refused", "left", "broken off", "no answer", "aborted"])
def test_the_end_is_told_once(how):
    scene, tap = tapped()
    caller = scene.ask()
    error = {
        "refused": "bad_request", "left": "caller_gone", "broken off": "incomplete", "no answer": "connect_refused",
        "aborted": "draining",
    }[how]  # fmt: skip
    if how == "refused":
        caller.exchange.refuse(error, "", None)
    elif how == "left":
        caller.exchange.on_caller_gone(error)
    elif how == "aborted":
        caller.exchange.abort(error)
    elif how == "no answer":
        scene.attempt().fail(CONNECT, error)
    else:
        scene.attempt().answer(200)
        scene.attempt().fail(ANSWERING, error)
    caller.exchange.abort("draining")
    assert [one for one in tap.heard if one[0] == "over"] == [("over", error)]
    assert tap.heard[-1] == ("over", error)
    assert caller.exchange.taps == ()
    scene.check()


def test_a_tunnel_is_nobody_s_to_hear():
    scene, tap = tapped()
    caller = scene.ask(upgrade=b"websocket")
    scene.attempt().open_tunnel()
    caller.exchange.on_request_data(b"private")
    scene.attempt().data(b"too")
    caller.exchange.on_request_end(None)
    scene.attempt().end()
    assert [one[0] for one in tap.heard if "data" in one[0]] == []
    assert tap.heard[-1][0] == "over"
    scene.check()


@pytest.mark.parametrize("decision", ["", "shop/broken"])
def test_a_reply_without_a_status_resets_the_caller(decision):
    reply = Reply(0, "fault", "on purpose", decision=decision)
    scene, _ = tapped(lambda call: reply)
    caller = scene.ask(b"POST", body=b"x")
    assert (caller.was_reset, caller.response) == ("fault", None)
    [call] = scene.records
    assert (call.status, call.error, call.detail, call.decision) == (0, "fault", "on purpose", decision)
    scene.check()
