"""Who gets a place, who does not, and that every place comes back, however a request ends."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.filters.adaptive_concurrency import MOST_POLICIES, Admission, Place, build
from sidewinder_sidecar.filters.context import Context
from sidewinder_sidecar.means import Means
from sidewinder_sidecar.messages import CONNECT, SENT
from sidewinder_sidecar.resilience.adaptive import NAME, PASSING, Gradient, limits
from sidewinder_sidecar.snapshot.authorization import AuthorizationSpec
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.policies import AdaptiveConcurrencySpec, PolicySpec
from sidewinder_sidecar.snapshot.services import ServiceSpec
from tests.support.memory import Clock, Scene, backend

POLICY = "shop/limits"


def section(**options) -> AdaptiveConcurrencySpec:
    return AdaptiveConcurrencySpec(**({"policy": POLICY, "target_latency": 0.1, "least": 1, "most": 2} | options))


def inbound(*sections: AdaptiveConcurrencySpec, **others) -> tuple:
    listener = ListenerSpec(name="in", direction="Inbound", address="0.0.0.0", port=15006, services=("in",))
    own = ServiceSpec(name="in", namespace="shop", port=9080, domains=("reviews",), backend="in", policy="p")
    return listener, own, *backend("in"), PolicySpec(name="p", adaptive_concurrency=sections, **others)


def scene_of(*sections: AdaptiveConcurrencySpec, **others) -> Scene:
    return Scene(*inbound(*(sections or (section(),)), **others))


def gradient(scene: Scene, policy: str = POLICY) -> Gradient:
    found: Gradient = scene.fleet.means.memory[NAME][f"{policy} "]
    return found


def test_what_is_one_too_many_is_refused_at_once_and_says_why() -> None:
    scene = scene_of()
    first, second = scene.ask(listener="in"), scene.ask(listener="in")
    third = scene.ask(listener="in")
    assert (third.status, scene.attempts) == (503, 2)
    assert third.header(b"retry-after") == b"1"
    assert b"connection_limit_reached" in (third.header(b"proxy-status") or b"")
    assert b"2 requests run" in third.body
    refused = scene.records[-1]
    assert (refused.error, refused.decision) == ("overloaded", "shop/limits/adaptiveConcurrency")
    assert scene.fleet.means.decisions == {("adaptive_concurrency", "Deny", POLICY): 1}
    for attempt in scene.opened:
        attempt.answer(200, b"ok", whole=True)
    assert (first.status, second.status, gradient(scene).running) == (200, 200, 0)
    assert scene.ask(listener="in").status == 0
    scene.attempt().answer(200, b"")
    scene.check()


@pytest.mark.parametrize(
    "end",
    [
        lambda scene, caller: scene.attempt().answer(200, b"ok", whole=True),
        lambda scene, caller: scene.attempt().answer(200, b"in pieces"),
        lambda scene, caller: scene.attempt().answer(500, b""),
        lambda scene, caller: scene.attempt().fail(CONNECT, "connect_refused"),
        lambda scene, caller: caller.exchange.on_caller_gone("caller_gone"),
        lambda scene, caller: caller.exchange.abort("draining"),
        lambda scene, caller: scene.clock.advance(500),
    ],
    ids=["whole", "pieces", "failure", "unreachable", "caller gone", "drained", "stalled"],
)
def test_a_place_comes_back_however_it_ends(end) -> None:
    scene = scene_of()
    caller = scene.ask(listener="in")
    assert gradient(scene).running == 1
    end(scene, caller)
    assert gradient(scene).running == 0
    scene.check()


def test_a_streamed_answer_holds_its_place_until_its_end() -> None:
    scene = scene_of()
    scene.ask(listener="in")
    scene.attempt().answer(200)
    scene.attempt().data(b"some")
    assert gradient(scene).running == 1
    scene.attempt().end()
    assert gradient(scene).running == 0
    scene.check()


@pytest.mark.parametrize("way", ["in", "out"])
def test_slow_callers_and_streams_shut_nobody_out(way) -> None:
    scene = scene_of()
    for _ in range(2):
        if way == "in":
            scene.ask(b"PUT", body=None, length=100, listener="in").exchange.on_request_data(b"a")
        else:
            scene.ask(listener="in")
            scene.attempt().answer(200)
            scene.attempt().data(b"event")
    scene.clock.advance(PASSING - 0.1)
    assert scene.ask(listener="in").status == 503
    scene.clock.advance(0.2)
    caller = scene.ask(listener="in")
    assert caller.status == 0
    assert gradient(scene).running == 1
    scene.attempt().answer(200, b"")
    for attempt in scene.opened[:2]:
        attempt.end() if way == "out" else attempt.fail(SENT, "reset")
    assert (gradient(scene).running, gradient(scene).passing) == (0, {})
    scene.check()


def test_what_is_measured_begins_with_the_requests_end() -> None:
    scene = scene_of(section(most=9))
    caller = scene.ask(b"PUT", body=None, length=4, listener="in")
    scene.clock.advance(3.0)
    caller.exchange.on_request_data(b"slow")
    caller.exchange.on_request_end(None)
    scene.clock.advance(0.25)
    scene.attempt().answer(200, b"")
    assert gradient(scene)._samples == pytest.approx([0.25])
    early = scene.ask(b"PUT", body=None, length=4, listener="in")
    scene.clock.advance(1.0)
    scene.attempt().answer(200)
    early.exchange.on_request_data(b"late")
    early.exchange.on_request_end(None)
    scene.attempt().end()
    gone = scene.ask(b"PUT", body=None, length=4, listener="in")
    scene.clock.advance(1.0)
    gone.exchange.on_caller_gone("caller_gone")
    assert gradient(scene)._samples == pytest.approx([0.25])
    assert gradient(scene).passing == {}
    scene.check()


def test_a_long_work_keeps_its_place() -> None:
    scene = scene_of()
    for _ in range(2):
        scene.ask(b"PUT", body=b"all of it", listener="in")
    scene.clock.advance(PASSING * 2)
    assert scene.ask(listener="in").status == 503


def test_a_tunnel_holds_none() -> None:
    scene = scene_of()
    caller = scene.ask(listener="in", upgrade=b"websocket")
    assert gradient(scene).running == 1
    scene.attempt().open_tunnel()
    assert gradient(scene).running == 0
    caller.exchange.on_request_data(b"frame")
    scene.attempt().data(b"frame")
    caller.exchange.on_caller_gone("caller_gone")
    assert gradient(scene).running == 0
    scene.check()


def test_who_is_refused_by_another_policy_takes_no_place() -> None:
    scene = scene_of(authorization=(AuthorizationSpec(policy="shop/nobody", default_action="Deny"),))
    assert scene.ask(listener="in").status == 403
    assert gradient(scene).running == 0
    scene.check()


@pytest.mark.parametrize(
    ("value", "admitted"),
    [(b"low", 6), (b" LOW ", 6), (b"high", 10), (b"other", 9), (None, 9)],
)
def test_priorities(value, admitted) -> None:
    scene = scene_of(section(least=1, most=10, priority_header="x-priority"))
    pairs = () if value is None else ((b"X-Priority", value),)
    statuses = [scene.ask(b"GET", b"/", *pairs, listener="in").status for _ in range(12)]
    assert statuses == [0] * admitted + [503] * (12 - admitted)


def test_without_a_header_in_the_policy_nobody_ranks_below() -> None:
    scene = scene_of(section(least=1, most=10))
    asked = [scene.ask(b"GET", b"/", (b"x-priority", b"low"), listener="in") for _ in range(10)]
    assert {one.status for one in asked} == {0}


@pytest.mark.parametrize(
    ("end", "seconds"),
    [
        (lambda scene, caller: scene.attempt().answer(200), [0.25]),
        (lambda scene, caller: scene.attempt().answer(404, b"no"), [0.25]),
        (lambda scene, caller: scene.attempt().answer(500, b""), []),
        (lambda scene, caller: scene.attempt().fail(CONNECT, "connect_refused"), []),
        (lambda scene, caller: caller.exchange.abort("deadline"), [0.25]),
        (lambda scene, caller: caller.exchange.on_caller_gone("caller_gone"), [0.25]),
    ],
    ids=["head", "not found", "quick failure", "unreachable", "in vain", "given up"],
)
def test_what_is_measured_is_the_time_to_the_head(end, seconds) -> None:
    scene = scene_of()
    caller = scene.ask(listener="in")
    scene.clock.advance(0.25)
    end(scene, caller)
    if not caller.over:
        scene.clock.advance(5.0)
        if not scene.attempt().over:
            scene.attempt().end()
    assert gradient(scene)._samples == pytest.approx(seconds)


def test_who_left_before_anything_was_slow_says_nothing() -> None:
    scene = scene_of()
    caller = scene.ask(listener="in")
    scene.clock.advance(0.05)
    caller.exchange.on_caller_gone("caller_gone")
    assert gradient(scene)._samples == []


def test_what_was_found_out_outlives_the_plan_and_new_numbers_hold_at_once() -> None:
    scene = scene_of()
    scene.ask(listener="in")
    before = gradient(scene)
    scene.adopt(*inbound(section(most=500, least=300)))
    scene.ask(listener="in")
    assert gradient(scene) is before
    assert (before.limit, before.running) == (300, 2)
    for attempt in scene.opened:
        attempt.answer(200, b"")
    assert before.running == 0
    scene.check()


def test_a_plan_that_nobody_adopts_changes_nothing() -> None:
    scene = scene_of()
    scene.ask(listener="in")
    scene.plan(*inbound(section(most=500, least=300)))
    assert gradient(scene).limit == 2


def test_all_sections_must_have_room() -> None:
    scene = scene_of(section(), section(policy="shop/other", least=1, most=1))
    scene.ask(listener="in")
    assert scene.ask(listener="in").status == 503
    assert (gradient(scene).running, gradient(scene, "shop/other").running) == (1, 1)
    scene.attempt().answer(200, b"")
    assert (gradient(scene).running, gradient(scene, "shop/other").running) == (0, 0)


def test_each_target_of_a_policy_finds_a_limit_of_its_own() -> None:
    scene = scene_of()
    context = Context(Means(), scene.wheel, {}, {}, {})
    http, same, admin = [build(section(target=target), context) for target in ("Service a", "Service a", "Service b")]
    assert http.__self__._gradient is same.__self__._gradient
    assert http.__self__._gradient is not admin.__self__._gradient
    told = [labels for labels, _ in limits(context.memory)]
    assert told == [{"policy": POLICY, "target": target} for target in ("Service a", "Service b")]


def test_policies_that_nobody_has_any_more_are_forgotten() -> None:
    clock = Clock()
    scene = Scene()
    means = Means()
    context = Context(means, scene.wheel, {}, {}, {})
    for number in range(3 * MOST_POLICIES):
        build(section(policy=f"shop/{number}"), context)
        means.memory[NAME]["shop/0 "].running = 1
    assert len(means.memory[NAME]) <= MOST_POLICIES + 1
    assert "shop/0 " in means.memory[NAME]
    assert clock.armed == 0


def test_what_they_look_like() -> None:
    spec = section()
    found = Gradient(spec, 0.0)
    assert repr(Admission(spec, found, lambda: 0.0, Means().count)).startswith(
        "<Admission shop/limits/adaptiveConcurrency"
    )
    place = Place(found, lambda: 0.0)
    found.enter()
    assert repr(place).startswith("<Place of <Gradient 1 of 2.0")
    place.over("")
    place.over("")  # once is enough
    assert found.running == 0
