"""The exchange by a protocol in memory: what is relayed, what is answered, and that every end is an end."""

from __future__ import annotations

import logging

import pytest

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import ANSWERING, CONNECT, WAIT, Reply
from sidewinder_sidecar.plan import services
from sidewinder_sidecar.snapshot.filters import (
    DirectResponse,
    FieldValue,
    Redirect,
    RequestHeaders,
    ResponseHeaders,
)
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.routes import (
    CookieStickiness,
    ExactPath,
    HeaderStickiness,
    MatchSpec,
    PrefixPath,
    RouteSpec,
    WeightedBackend,
)
from sidewinder_sidecar.snapshot.upstreams import EndpointsSpec
from tests.support.memory import Scene, backend, listener, rule, service, shop


def route_of(scene):
    """The compiled route of `shop/reviews`, to hang filters on."""
    return scene.proxy.plan.routes["shop/reviews"].entries[0].route


# Relaying


@pytest.mark.parametrize("whole", [False, True])
def test_a_request_is_answered_and_recorded_once(whole):
    scene = Scene(*shop())
    caller = scene.ask(b"GET", b"/reviews/1?full=1", (b"Accept", b"*/*"))
    attempt = scene.attempt()
    assert (attempt.method, attempt.target, attempt.ended) == (b"GET", b"/reviews/1?full=1", True)
    scene.clock.advance(0.25)
    attempt.answer(200, b"hello", (b"content-type", b"text/plain"), whole=whole)
    assert (caller.status, caller.body, caller.ended) == (200, b"hello", True)
    assert caller.header(b"content-type") == b"text/plain"
    [call] = scene.records
    assert (call.status, call.error, call.retries, call.backend, call.service) == (
        200,
        "",
        0,
        "v1",
        "shop/reviews:9080",
    )
    assert (call.route.name, call.route.rule, call.bytes_out) == ("shop/reviews", "everyone", 5)
    assert call.ended - call.started == pytest.approx(0.25)
    assert call.address == attempt.endpoint.address
    scene.check()


def test_an_answer_without_a_body_ends_with_its_head():
    scene = Scene(*shop())
    caller = scene.ask()
    scene.attempt().answer(204, b"")
    assert caller.ended
    assert caller.body == b""
    scene.check()


def test_a_body_and_trailers_go_up_and_down():
    scene = Scene(*shop())
    caller = scene.ask(b"POST", b"/", length=None, body=None)
    attempt = scene.attempt()
    caller.exchange.on_request_data(b"one")
    caller.exchange.on_request_data(b"two")
    caller.exchange.on_request_end(fields((b"x-sum", b"6")))
    assert (attempt.body, attempt.ended, attempt.trailers.get(b"x-sum")) == (b"onetwo", True, b"6")
    attempt.answer(200)
    attempt.data(b"three")
    attempt.end(fields((b"x-sum", b"5")))
    assert (caller.body, caller.ended, caller.trailers.get(b"x-sum")) == (b"three", True, b"5")
    assert (scene.records[0].bytes_in, scene.records[0].bytes_out) == (6, 5)
    scene.check()


def test_interim_answers_pass_until_the_final_one():
    scene = Scene(*shop())
    caller = scene.ask(b"PUT", b"/", (b"Expect", b"100-continue"), length=3, body=None)
    attempt = scene.attempt()
    attempt.inform(100)
    attempt.inform(103, (b"link", b"</a.css>"))
    caller.exchange.on_request_data(b"abc")
    caller.exchange.on_request_end(None)
    attempt.answer(200, b"")
    assert caller.informed == [100, 103]
    assert attempt.body == b"abc"
    scene.check()


def test_an_early_final_answer_ends_the_exchange_while_the_body_still_comes():
    scene = Scene(*shop())
    caller = scene.ask(b"POST", b"/", length=10_000_000, body=None)
    caller.exchange.on_request_data(b"x" * 1000)
    attempt = scene.attempt()
    attempt.answer(413, b"too much")
    assert (caller.status, caller.body, caller.ended) == (413, b"too much", True)
    caller.exchange.on_request_data(b"x" * 1000)
    caller.exchange.on_request_end(None)
    assert len(attempt.body) == 1000
    scene.check()


def test_backpressure_is_relayed_both_ways():
    scene = Scene(*shop())
    caller = scene.ask(b"POST", b"/", length=None, body=None)
    attempt = scene.attempt()
    attempt.writable = False
    caller.exchange.on_request_data(b"x")
    assert caller.paused
    attempt.write_on()
    assert not caller.paused
    caller.exchange.on_request_end(None)
    attempt.answer(200)
    caller.writable = False
    attempt.data(b"y")
    assert attempt.paused
    caller.writable = True
    caller.exchange.on_caller_writable()
    assert not attempt.paused
    attempt.end()
    caller.exchange.on_caller_writable()  # late: nobody minds
    attempt.receiver.on_writable()
    scene.check()


# Where it goes


def test_what_no_rule_matches_is_told():
    scene = Scene(*shop(rule("v1", matches=(MatchSpec(path=PrefixPath("/api")),))))
    caller = scene.ask(target=b"/other")
    assert caller.status == 404
    assert b"error=destination_not_found" in caller.header(b"proxy-status")
    assert b"shop/reviews:9080" in caller.body
    assert scene.records[0].error == "no_route"
    assert scene.records[0].service == "shop/reviews:9080"
    scene.check()


def test_what_no_service_owns_is_told():
    scene = Scene(*shop())
    caller = scene.ask(authority=b"nobody:1")
    assert caller.status == 404
    assert b"nobody:1" in caller.body
    scene.check()


def test_a_listener_that_is_gone_answers_503():
    scene = Scene(*shop())
    caller = scene.ask(listener="gone")
    assert caller.status == 503
    assert caller.header(b"retry-after") == b"1"
    assert scene.records[0].error == "draining"
    scene.check()


def test_no_healthy_backend_no_backend_and_an_invalid_one_are_told_apart():
    empty = backend("v1")[0], EndpointsSpec(name="v1")
    scene = Scene(*shop(backends=(empty,)))
    assert (scene.ask().status, scene.records[-1].error) == (503, "no_endpoints")
    scene = Scene(*shop(rule(WeightedBackend(backend="v1", weight=0))))
    assert (scene.ask().status, scene.records[-1].error) == (500, "no_backend")
    scene = Scene(*shop(rule()))
    assert (scene.ask().status, scene.records[-1].error) == (500, "no_backend")
    scene = Scene(*shop(rule(WeightedBackend(backend="", invalid="Service reviews-v9 does not exist"))))
    caller = scene.ask()
    assert (caller.status, scene.records[-1].error) == (500, "invalid_backend")
    assert b"reviews-v9" in caller.header(b"proxy-status")
    scene.check()


def test_an_invalid_backend_costs_exactly_its_share():
    shares = rule(WeightedBackend(backend="v1", weight=3), WeightedBackend(backend="", weight=1, invalid="gone"))
    scene = Scene(*shop(shares))
    for _ in range(40):
        caller = scene.ask()
        if not caller.ended:
            scene.attempt().answer(200, b"")
    assert sorted(call.status for call in scene.records) == [200] * 30 + [500] * 10
    scene.check()


def test_a_service_without_routes_goes_to_its_own_backend():
    scene = Scene(listener(), service(backend="v1"), *backend("v1"))
    caller = scene.ask()
    scene.attempt().answer(200, b"")
    assert caller.status == 200
    assert scene.records[0].route.name == "shop/reviews:9080"
    scene.check()


def test_a_forward_proxy_dials_what_no_service_owns():
    scene = Scene(listener(pass_through=True, forward_proxy=True), service(backend="v1"), *backend("v1"))
    caller = scene.ask(authority=b"example.org")
    attempt = scene.attempt()
    assert attempt.endpoint.address == ("example.org", 80)
    attempt.answer(200, b"out there")
    assert caller.body == b"out there"
    assert (scene.records[0].backend, scene.records[0].route.name) == ("outside", "pass-through")
    scene.ask(authority=b"example.org:80")
    assert scene.attempt().endpoint is attempt.endpoint
    scene.attempt().answer(200, b"")
    scene.check()


@pytest.mark.parametrize("authority", [b"localhost:15001", b"127.0.0.1:15001", b"127.8.8.8:15001", b"[::1]:15001"])
def test_a_forward_proxy_does_not_dial_itself(authority):
    scene = Scene(listener(pass_through=True))
    caller = scene.ask(authority=authority)
    assert (caller.status, scene.records[0].error) == (508, "loop")
    scene.check()


@pytest.mark.parametrize("authority", [b"", b":80", b"example.org:0", b"example.org:99999", b"example.org:x"])
def test_a_forward_proxy_refuses_what_is_no_host(authority):
    scene = Scene(listener(pass_through=True))
    caller = scene.ask(authority=authority)
    assert (caller.status, scene.records[0].error) == (400, "bad_request")
    scene.check()


# Filters


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


# Time


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


# Ends


@pytest.mark.parametrize("began", [False, True])
def test_a_caller_that_goes_takes_its_try_along(began):
    scene = Scene(*shop())
    caller = scene.ask()
    attempt = scene.attempt()
    if began:
        attempt.answer(200)
    caller.exchange.on_caller_gone("caller_gone")
    assert attempt.cancelled == "caller_gone"
    assert (scene.records[0].status, scene.records[0].error) == (200 if began else 499, "caller_gone")
    caller.exchange.on_caller_gone("caller_gone")
    scene.check()


def test_an_answer_that_breaks_off_is_not_called_complete():
    scene = Scene(*shop())
    caller = scene.ask()
    attempt = scene.attempt()
    attempt.answer(200)
    attempt.data(b"half")
    attempt.fail(ANSWERING, "incomplete")
    assert (caller.was_reset, caller.ended) == ("incomplete", False)
    assert (scene.records[0].status, scene.records[0].error) == (200, "incomplete")
    scene.check()


def test_a_failure_says_what_it_was():
    scene = Scene(*shop())
    caller = scene.ask(b"GET", b"/", (b"Accept", b"application/json"))
    scene.attempt().fail(CONNECT, "connect_refused", "10.0.0.1:9080 refuses connections")
    assert caller.status == 503
    assert b"error=connection_refused" in caller.header(b"proxy-status")
    assert b'"detail":"10.0.0.1:9080 refuses connections"' in caller.body
    scene.check()


def test_a_request_that_is_none_is_answered_and_recorded():
    scene = Scene(*shop())
    caller = scene.caller()
    caller.exchange.refuse("headers_too_large", "the head is longer than 65536 bytes", None)
    assert (caller.status, scene.records[0].error) == (431, "headers_too_large")
    scene.check()


def test_a_body_that_breaks_the_rules_ends_its_try():
    scene = Scene(*shop())
    caller = scene.ask(b"POST", b"/", length=None, body=None)
    caller.exchange.refuse("bad_request", "the chunk size is not valid", caller.exchange.request)
    assert (caller.status, scene.attempt().cancelled) == (400, "bad_request")
    scene.check()


def test_the_drains_end_aborts_what_runs():
    scene = Scene(*shop())
    waits, begun = scene.ask(), scene.ask()
    scene.attempt(1).answer(200)
    for exchange in list(scene.proxy.running):
        exchange.abort("draining")
    assert (waits.status, begun.was_reset) == (503, "draining")
    scene.check()


# Tunnels


def test_an_upgrade_becomes_a_tunnel_that_closes_half_by_half():
    scene = Scene(*shop(rule("v1", request_timeout=1.0)))
    caller = scene.ask(upgrade=b"websocket")
    attempt = scene.attempt()
    attempt.open_tunnel(101)
    assert caller.tunnel
    scene.clock.advance(10)  # the request's deadline means nothing here
    caller.exchange.on_request_data(b"ping")
    attempt.data(b"pong")
    assert (attempt.body, caller.body) == (b"ping", b"pong")
    caller.exchange.on_request_end(None)
    assert attempt.ended
    attempt.data(b"more")
    assert not scene.records
    attempt.end()
    assert caller.body == b"pongmore"
    assert (scene.records[0].status, scene.records[0].error) == (101, "")
    scene.check()


def test_a_tunnel_whose_upstream_ends_first():
    scene = Scene(*shop())
    caller = scene.ask(upgrade=b"websocket")
    attempt = scene.attempt()
    attempt.open_tunnel(101)
    attempt.end()
    assert not scene.records
    caller.exchange.on_request_end(None)
    assert scene.records[0].error == ""
    scene.check()


def test_a_tunnel_of_which_nothing_moves_is_cut():
    scene = Scene(*shop())
    caller = scene.ask(upgrade=b"websocket")
    scene.attempt().open_tunnel(101)
    scene.clock.advance(3600)
    assert not caller.over
    scene.clock.advance(3602)
    assert (caller.was_reset, scene.records[0].error) == ("idle", "idle")
    scene.check()


def test_an_upgrade_may_be_refused_by_the_upstream():
    scene = Scene(*shop())
    caller = scene.ask(upgrade=b"websocket")
    scene.attempt().answer(400, b"no")
    assert (caller.status, caller.body, caller.tunnel) == (400, b"no", False)
    scene.check()


def test_connect_is_for_forward_proxies_alone():
    """Anywhere else a tunnel would go around every rule of the service."""
    scene = Scene(listener(), service(backend="own"), *backend("own"))
    caller = scene.ask(b"CONNECT", b"", upgrade=b"connect")
    assert (caller.status, caller.tunnel) == (404, False)
    scene.check()


def test_connect_goes_around_the_routes_of_a_service():
    scene = Scene(
        listener(forward_proxy=True),
        service("shop/reviews", backend="own"),
        RouteSpec(name="shop/reviews", rules=(rule("v1", matches=(MatchSpec(path=ExactPath("/only")),)),)),
        *backend("v1"),
        *backend("own"),
    )
    caller = scene.ask(b"CONNECT", b"", upgrade=b"connect")
    attempt = scene.attempt()
    attempt.open_tunnel(200)
    caller.exchange.on_request_data(b"hello")
    assert (scene.records, attempt.body, caller.tunnel) == ([], b"hello", True)
    caller.exchange.on_caller_gone("caller_gone")
    assert scene.records[0].backend == "own"
    scene.check()


# Traces


def test_a_sampled_call_keeps_its_tries():
    scene = Scene(ProxySpec(name="test", namespace="shop", trace_percent=100.0), *shop())
    scene.ask()
    attempt = scene.attempt()
    scene.attempt().answer(200, b"")
    [call] = scene.records
    [one] = call.tries
    assert call.sampled
    assert (one.address, one.status, one.error) == (attempt.endpoint.address, 200, "")
    assert one.span_id in attempt.fields[b"traceparent"]
    assert call.span_id not in attempt.fields[b"traceparent"]
    scene.check()


def test_authorities_that_are_remembered_are_bounded():
    scene = Scene(listener(default_service="shop/reviews:9080"), service(backend="v1"), *backend("v1"))
    for number in range(services.MOST_REMEMBERED + 50):
        scene.ask(authority=b"x%d.example" % number)
        scene.attempt().answer(200, b"")
    assert len(scene.proxy.plan.listeners["out"].known) == services.MOST_REMEMBERED
    scene.check()
