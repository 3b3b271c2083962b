"""What is too large is refused with a number, in either direction, told or counted; what is not passes unchanged."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.fields import Fields, fields
from sidewinder_sidecar.filters.size_limits import Meter, SizeLimits, build, size_of
from sidewinder_sidecar.means import Means
from sidewinder_sidecar.messages import Response
from sidewinder_sidecar.replay import Replay
from sidewinder_sidecar.snapshot import filters
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.policies import PolicySpec, SizesSpec
from sidewinder_sidecar.snapshot.services import ServiceSpec
from tests.support.calls import call
from tests.support.memory import Scene, backend, rule, shop

BODY = SizesSpec(policy="shop/sizes", request_body=10)
ANSWER = SizesSpec(policy="shop/sizes", response_body=10)


def inbound(spec: SizesSpec) -> Scene:
    listener = ListenerSpec(name="out", direction="Inbound", address="0.0.0.0", port=15006, services=("in",))
    own = ServiceSpec(name="in", namespace="shop", port=9080, domains=("reviews",), backend="in", policy="p")
    return Scene(listener, own, *backend("in"), PolicySpec(name="p", size_limits=spec))


def on_rule(spec: SizesSpec) -> Scene:
    return Scene(*shop(rule("v1", filters=(filters.SizeLimits(spec),))))


SIDES = pytest.mark.parametrize("scene_of", [inbound, on_rule], ids=["port", "rule"])


@SIDES
@pytest.mark.parametrize(("length", "status"), [(0, 200), (10, 200), (11, 413)])
def test_a_request_that_tells_its_length(scene_of, length, status) -> None:
    scene = scene_of(BODY)
    caller = scene.ask(b"POST", b"/", body=b"x" * length)
    if status == 200:
        assert scene.attempt().body == b"x" * length
        scene.attempt().answer(200, b"")
    else:
        assert scene.attempts == 0
        assert b"the body has 11 bytes, 10 are allowed here" in caller.body
        assert b"details=" in (caller.header(b"proxy-status") or b"")
        assert scene.records[0].decision == "shop/sizes/sizeLimits"
        assert scene.fleet.means.decisions == {("size_limits", "Deny", "shop/sizes"): 1}
    assert (caller.status, scene.records[0].error) == (status, "" if status == 200 else "body_too_large")
    scene.check()


@SIDES
def test_a_request_that_does_not_is_counted_and_never_kept(scene_of) -> None:
    scene = scene_of(BODY)
    caller = scene.ask(b"POST", b"/", length=None, body=None)
    caller.exchange.on_request_data(b"x" * 10)
    attempt = scene.attempt()
    assert attempt.body == b"x" * 10
    caller.exchange.on_request_data(b"x")
    assert (caller.status, attempt.cancelled) == (413, "body_too_large")
    assert attempt.body == b"x" * 10
    assert b"more than the 10 bytes that are allowed here" in caller.body
    caller.exchange.on_request_data(b"what the caller still sends")
    scene.check()


@SIDES
def test_a_request_that_ends_in_time_passes(scene_of) -> None:
    scene = scene_of(BODY)
    caller = scene.ask(b"POST", b"/", length=None, body=None)
    caller.exchange.on_request_data(b"x" * 10)
    caller.exchange.on_request_end(None)
    scene.attempt().answer(200, b"y" * 1000)
    assert (caller.status, scene.attempt().body, len(caller.body)) == (200, b"x" * 10, 1000)
    scene.check()


@SIDES
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("size", "status"), [(10, 200), (11, 502)])
def test_an_answer_that_tells_its_length(scene_of, whole, size, status) -> None:
    scene = scene_of(ANSWER)
    caller = scene.ask()
    scene.attempt().answer(200, b"x" * size, whole=whole)
    assert caller.status == status
    if status == 502:
        assert b"http_response_body_size" in (caller.header(b"proxy-status") or b"")
        assert b"the upstream's answer has 11 bytes, 10 are allowed here" in caller.body
        assert (scene.records[0].error, scene.records[0].decision) == ("response_too_large", "shop/sizes/sizeLimits")
        assert whole or scene.attempt().cancelled == "response_too_large"
    scene.check()


@SIDES
def test_an_answer_that_does_not_is_cut(scene_of) -> None:
    scene = scene_of(ANSWER)
    caller = scene.ask()
    attempt = scene.attempt()
    attempt.answer(200)
    attempt.data(b"x" * 10)
    assert (caller.status, caller.body) == (200, b"x" * 10)
    attempt.data(b"x")
    assert (caller.was_reset, caller.body) == ("response_too_large", b"x" * 10)
    assert (attempt.cancelled, scene.records[0].error) == ("response_too_large", "response_too_large")
    scene.check()


def test_an_answer_to_head_has_no_body() -> None:
    scene = inbound(ANSWER)
    caller = scene.ask(b"HEAD")
    attempt = scene.attempt()
    attempt._release()
    attempt.receiver.on_response(Response(200, fields((b"content-length", b"5000")), 5000), b"")
    assert caller.status == 200
    scene.check()


@SIDES
def test_our_own_answers_are_nobodys_body(scene_of) -> None:
    scene = scene_of(ANSWER)
    caller = scene.ask()
    scene.attempt().fail("connect", "connect_refused", "a longer detail than ten bytes")
    assert caller.status == 503
    scene.check()


def test_a_tunnels_bytes_are_no_body() -> None:
    scene = inbound(SizesSpec(policy="shop/sizes", request_body=10, response_body=10))
    caller = scene.ask(upgrade=b"websocket")
    scene.attempt().open_tunnel()
    caller.exchange.on_request_data(b"x" * 100)
    scene.attempt().data(b"y" * 100)
    assert (len(scene.attempt().body), len(caller.body)) == (100, 100)
    caller.exchange.on_caller_gone("caller_gone")
    scene.check()


@pytest.mark.parametrize(("most", "status"), [(47, 200), (46, 431)])
def test_header_fields_together(most, status) -> None:
    scene = inbound(SizesSpec(policy="shop/sizes", request_headers=most))
    # `accept: */*\r\n` is 13 bytes, `x-token: …\r\n` 34
    caller = scene.ask(b"GET", b"/", (b"accept", b"*/*"), (b"x-token", b"t" * 23))
    if status == 200:
        scene.attempt().answer(200, b"")
    else:
        assert b"the header fields have 47 bytes, 46 are allowed here" in caller.body
    assert caller.status == status
    scene.check()


def test_header_fields_are_counted_as_they_came() -> None:
    source = b"\r\naccept: */*\r\nx:1\r\n"
    assert size_of(Fields([(b"accept", b"accept", b"*/*"), (b"x", b"x", b"1")], source)) == 13 + 5
    edited = Fields([(b"accept", b"accept", b"*/*")])
    edited.add(b"x-ours", b"x-ours", b"does not count")
    assert size_of(edited) == 13


def test_both_levels_hold() -> None:
    scene = Scene(
        *shop(
            rule(
                "v1",
                filters=(filters.SizeLimits(BODY), filters.SizeLimits(SizesSpec(policy="shop/small", request_body=5))),
            )
        )
    )
    assert scene.ask(b"POST", b"/", body=b"x" * 6).status == 413
    assert scene.records[0].decision == "shop/small/sizeLimits"


def test_what_came_while_a_filter_waited_is_judged_with_the_head() -> None:
    """The rule's filters come after a guard that may wait; what was kept meanwhile is told to the meter at once."""
    exchange = on_rule(BODY).caller().exchange
    exchange.request = call(method=b"POST").request
    exchange.request.length = None
    exchange.replay = Replay()
    exchange.replay.keep(b"x" * 11)
    exchange.replay.end(None)
    apply = build(BODY)
    assert apply is not None
    reply = apply(exchange)
    assert (reply.status, reply.error, exchange.error) == (413, "body_too_large", "")


def test_what_limits_nothing_is_no_filter() -> None:
    assert build(SizesSpec()) is None
    assert inbound(SizesSpec()).proxy.plan.services["in"].guard.filters == ()


@pytest.mark.parametrize("field", ["request_headers", "request_body", "response_body"])
def test_no_size_is_negative(field) -> None:
    with pytest.raises(ValueError, match=f"{field}: -1 is negative"):
        build(SizesSpec(**{field: -1}))


def test_what_they_look_like() -> None:
    limits = SizeLimits(BODY, Means().count)
    assert repr(limits) == "<SizeLimits shop/sizes/sizeLimits>"
    meter = Meter(limits)
    meter.send_data(b"abc")
    meter.answer_data(b"x")
    assert repr(meter) == "<Meter 3 1>"
