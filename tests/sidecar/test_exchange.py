"""The exchange by a protocol in memory: what is relayed, what is answered, and that every end is an end."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import ANSWERING, CONNECT
from sidewinder_sidecar.plan import services
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.routes import (
    MatchSpec,
    PrefixPath,
    WeightedBackend,
)
from sidewinder_sidecar.snapshot.upstreams import EndpointsSpec
from tests.support.memory import Scene, backend, listener, rule, service, shop

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
