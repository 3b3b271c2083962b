"""The exchange by a protocol in memory: filters that edit, answer, wait and break; and users who come back."""

from __future__ import annotations

import logging

from sidewinder_sidecar.messages import WAIT, Reply
from sidewinder_sidecar.snapshot.filters import (
    DirectResponse,
    FieldValue,
    Redirect,
    RequestHeaders,
    ResponseHeaders,
)
from sidewinder_sidecar.snapshot.routes import (
    CookieStickiness,
    HeaderStickiness,
    WeightedBackend,
)
from tests.support.memory import Scene, backend, rule, shop


def route_of(scene):
    """The compiled route of `shop/reviews`, to hang filters on."""
    return scene.proxy.plan.routes["shop/reviews"].entries[0].route


def test_a_rules_filters_edit_both_directions_and_a_backends_come_after():
    both = (
        RequestHeaders(set=(FieldValue(name="x-order", value="rule"),)),
        ResponseHeaders(add=(FieldValue(name="x-served", value="rule"),)),
    )
    mine = (
        RequestHeaders(add=(FieldValue(name="x-backend", value="v1"),)),
        ResponseHeaders(add=(FieldValue(name="x-served", value="backend"),)),
    )
    scene = Scene(*shop(rule(WeightedBackend(backend="v1", filters=mine), filters=both)))
    caller = scene.ask(b"GET", b"/", (b"x-order", b"forged"))
    attempt = scene.attempt()
    assert (attempt.fields[b"x-order"], attempt.fields[b"x-backend"]) == (b"rule", b"v1")
    attempt.answer(200, b"")
    assert caller.response.fields.all(b"x-served") == [b"backend", b"rule"]
    scene.check()


def test_a_direct_response_needs_no_upstream_and_passes_the_response_filters():
    answer = DirectResponse(status=418, body="short and stout", headers=(FieldValue(name="x-a", value="1"),))
    scene = Scene(*shop(rule("v1", filters=(answer, ResponseHeaders(set=(FieldValue(name="x-b", value="2"),))))))
    caller = scene.ask()
    assert (caller.status, caller.body, caller.ended) == (418, b"short and stout", True)
    assert (caller.header(b"x-a"), caller.header(b"x-b"), caller.header(b"proxy-status")) == (b"1", b"2", None)
    assert (scene.attempts, scene.records[0].error) == (0, "")
    scene.check()


def test_a_redirect_answers_at_once():
    scene = Scene(*shop(rule("v1", filters=(Redirect(hostname="new.example", status=308),))))
    caller = scene.ask(target=b"/a?b=c")
    assert caller.status == 308
    assert caller.header(b"location").startswith(b"http://new.example")
    scene.check()


class Waiting:
    """A filter that goes to ask."""

    def __init__(self) -> None:
        self.calls = []
        self.cancelled = 0

    def __call__(self, call):
        self.calls.append(call)
        call.waiting_on = self
        return WAIT

    def cancel(self):
        self.cancelled += 1


def waiting_scene(*more):
    scene = Scene(*shop())
    waits = Waiting()
    route_of(scene).filters = (waits, *more)
    return scene, waits


def test_a_waiting_filter_stops_the_body_and_resumes_the_walk_where_it_was():
    seen = []
    scene, waits = waiting_scene(lambda call: seen.append(call))
    caller = scene.ask(b"POST", b"/", length=None, body=None)
    assert caller.paused
    assert scene.attempts == 0
    caller.exchange.on_request_data(b"was on its way")
    waits.calls[0].resume()
    assert not caller.paused
    assert seen == waits.calls
    assert scene.attempt().body == b"was on its way"
    caller.exchange.on_request_data(b", the rest")
    caller.exchange.on_request_end(None)
    assert scene.attempt().body == b"was on its way, the rest"
    waits.calls[0].resume()  # once only
    scene.attempt().answer(200, b"")
    assert waits.cancelled == 0
    scene.check()


def test_a_waiting_filter_may_refuse():
    scene, waits = waiting_scene()
    caller = scene.ask()
    waits.calls[0].resume(Reply(403, "denied", "not today"))
    assert caller.status == 403
    assert b"not today" in caller.body
    assert scene.attempts == 0
    scene.check()


def test_what_waits_is_cancelled_when_the_caller_goes_and_by_the_deadline():
    scene, waits = waiting_scene()
    caller = scene.ask()
    caller.exchange.on_caller_gone("caller_gone")
    assert waits.cancelled == 1
    waits.calls[0].resume()
    assert scene.attempts == 0
    late = scene.ask(b"GET", b"/", (b"x-request-deadline", b"100ms"))
    scene.clock.advance(0.2)
    assert late.status == 504
    assert waits.cancelled == 2
    waits.calls[1].resume()
    scene.check()


def test_more_of_a_body_than_can_be_held_while_a_filter_waits_is_refused():
    scene, _ = waiting_scene()
    caller = scene.ask(b"POST", b"/", length=None, body=None)
    for _ in range(17):
        caller.exchange.on_request_data(b"x" * 16384)
    assert (caller.status, scene.records[0].error) == (413, "body_too_large")
    scene.check()


def test_what_one_read_brought_waits_with_the_request():
    scene, waits = waiting_scene()
    caller = scene.ask(b"POST", b"/", length=1_000_000, body=None)
    caller.exchange.on_request_data(b"x" * 262_144)
    assert caller.paused
    waits.calls[0].resume()
    assert (len(scene.attempt().body), caller.paused) == (262_144, False)
    caller.exchange.on_request_data(b"x" * (1_000_000 - 262_144))
    caller.exchange.on_request_end(None)
    scene.attempt().answer(200, b"")
    assert (len(scene.attempt().body), caller.status) == (1_000_000, 200)
    scene.check()


def test_a_bug_in_a_filter_is_logged_once_answered_and_counted(caplog):
    scene = Scene(*shop())
    route_of(scene).filters = (lambda call: 1 / 0,)
    with caplog.at_level(logging.ERROR):
        caller = scene.ask()
    assert (caller.status, scene.records[0].error, caller.response.close) == (500, "bug", True)
    assert [record.exc_info is not None for record in caplog.records] == [True]
    assert scene.proxy.bugs == 1
    scene.proxy.bugs = 0
    scene.check()


def test_a_bug_in_a_response_filter_never_lets_half_an_answer_out(caplog):
    scene = Scene(*shop())
    route_of(scene).response_filters = (lambda call, response: 1 / 0,)
    with caplog.at_level(logging.ERROR):
        caller = scene.ask()
        scene.attempt().answer(200)
    assert (caller.status, caller.ended) == (500, True)
    assert scene.attempt().cancelled == "bug"
    scene.proxy.bugs -= 1
    scene.check()


def test_a_bug_of_the_recorder_harms_nobody(caplog):
    scene = Scene(*shop())
    scene.proxy.record = lambda call: 1 / 0
    with caplog.at_level(logging.ERROR):
        caller = scene.ask()
        scene.attempt().answer(200, b"ok")
    assert (caller.status, caller.ended) == (200, True)
    scene.proxy.bugs -= 1
    scene.check()


# Sticky users


def test_a_sticky_cookie_brings_the_user_back_until_its_backend_has_no_weight():
    sticky = CookieStickiness(name="release", lifetime=3600)
    both = (backend("v1"), backend("v2"))
    half = rule("v1", "v2", stickiness=sticky)
    scene = Scene(*shop(half, backends=both))
    first = scene.ask()
    scene.attempt().answer(200, b"")
    cookie, _, attributes = first.header(b"set-cookie").partition(b"; ")
    assert attributes == b"Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"
    met = scene.records[0].backend
    assert met.encode() not in cookie
    for _ in range(20):
        again = scene.ask(b"GET", b"/", (b"Cookie", b"a=b; " + cookie))
        scene.attempt().answer(200, b"")
        assert (scene.records[-1].backend, again.header(b"set-cookie")) == (met, None)
    weights = [WeightedBackend(backend=name, weight=int(name != met)) for name in ("v1", "v2")]
    scene.adopt(*shop(rule(*weights, stickiness=sticky), backends=both))
    moved = scene.ask(b"GET", b"/", (b"Cookie", cookie))
    scene.attempt().answer(200, b"")
    assert scene.records[-1].backend != met
    assert moved.header(b"set-cookie").startswith(b"release=")
    scene.check()


def test_a_sticky_header_chooses_the_same_backend_every_time():
    both = (backend("v1"), backend("v2"))
    scene = Scene(*shop(rule("v1", "v2", stickiness=HeaderStickiness(name="X-User")), backends=both))
    for user in (b"a", b"b", b"c", b"d", b"e", b"f"):
        for _ in range(5):
            scene.ask(b"GET", b"/", (b"x-user", user))
            scene.attempt().answer(200, b"")
        assert len({call.backend for call in scene.records[-5:]}) == 1
    assert {call.backend for call in scene.records} == {"v1", "v2"}
    scene.check()
