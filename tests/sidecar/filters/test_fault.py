"""Faults through a whole exchange: shares, what a request asks for itself, how it ends, and when all of it ends."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.filters import fault
from sidewinder_sidecar.plan import Refused
from sidewinder_sidecar.snapshot.filters import Abort, Delay, Fault, FieldValue, RequestHeaders
from sidewinder_sidecar.snapshot.routes import WeightedBackend
from tests.support.memory import Scene, rule, shop

NAME = "shop/reviews/everyone"


def scene_of(*filters, wall=lambda: 1_000.0, **options):
    made = Scene()
    made.fleet.means.clock = wall
    made.adopt(*shop(rule("v1", filters=filters, **options)))
    return made


def counted(scene, action):
    return scene.fleet.means.decisions.get(("fault", action, NAME), 0)


def test_a_delay_holds_the_request_and_lets_it_go():
    scene = scene_of(Fault(delay=Delay(seconds=0.3)))
    caller = scene.ask(b"POST", body=b"held")
    assert (scene.attempts, caller.paused) == (0, True)
    scene.clock.advance(0.29)
    assert scene.attempts == 0
    scene.clock.advance(0.05)
    assert scene.attempt().body == b"held"
    scene.attempt().answer(200, b"ok")
    assert caller.body == b"ok"
    [call] = scene.records
    assert (call.detail, call.error) == ("fault: delayed by 0.3 s", "")
    assert counted(scene, "Delay") == 1
    scene.check()


def test_what_comes_behind_it_runs_after_the_delay():
    scene = scene_of(Fault(delay=Delay(seconds=0.1)), RequestHeaders(set=(FieldValue("x-late", "1"),)))
    scene.ask()
    scene.clock.advance(0.2)
    assert scene.attempt().fields[b"x-late"] == b"1"
    scene.attempt().answer(200, b"")
    scene.check()


@pytest.mark.parametrize("status", [None, 503], ids=["delay", "abort"])
def test_on_a_backend_it_is_for_those_who_go_there(status):
    spec = Fault(delay=Delay(seconds=0.1)) if status is None else Fault(abort=Abort(status=status))
    scene = Scene(*shop(rule(WeightedBackend(backend="v1", filters=(spec,)))))
    caller = scene.ask(b"POST", body=b"x")
    assert scene.attempts == 0
    scene.clock.advance(0.2)
    if status is None:
        assert scene.attempt().body == b"x"
        scene.attempt().answer(200, b"")
    assert caller.status == (status or 200)
    assert scene.records[0].backend == "v1"
    scene.check()


def test_an_abort_answers_without_a_backend():
    scene = scene_of(Fault(abort=Abort(status=418)))
    caller = scene.ask()
    assert (caller.status, scene.attempts) == (418, 0)
    assert caller.header(b"proxy-status").startswith(b"sidewinder; error=proxy_internal_response")
    assert scene.records[0].error == "fault"
    assert counted(scene, "Abort") == 1
    scene.check()


def test_an_abort_without_a_status_resets_the_connection():
    scene = scene_of(Fault(abort=Abort()))
    caller = scene.ask()
    assert (caller.was_reset, caller.response, scene.attempts) == ("fault", None, 0)
    assert (scene.records[0].status, scene.records[0].error) == (0, "fault")
    assert counted(scene, "Reset") == 1
    scene.check()


@pytest.mark.parametrize("status", [503, 0], ids=["answer", "reset"])
def test_an_abort_comes_after_its_delay(status):
    scene = scene_of(Fault(delay=Delay(seconds=0.2), abort=Abort(status=status)))
    caller = scene.ask()
    assert not caller.over
    scene.clock.advance(0.3)
    assert caller.over
    assert (scene.records[0].error, scene.attempts) == ("fault", 0)
    assert scene.records[0].detail.endswith("; fault: delayed by 0.2 s")
    assert counted(scene, "Abort" if status else "Reset") == 1
    scene.check()


def test_the_shares_are_exact():
    scene = scene_of(Fault(abort=Abort(status=503, numerator=7, denominator=100)))
    for _ in range(1_000):
        scene.ask()
        if scene.opened and not scene.attempt().over:
            scene.attempt().answer(200, b"")
    assert sum(call.error == "fault" for call in scene.records) == 70
    scene.check()


def test_it_ends_by_itself():
    now = [1_000.0]
    scene = scene_of(Fault(abort=Abort(status=503), headers=True, expires=2_000.0), wall=lambda: now[0])
    assert scene.ask().status == 503
    now[0] = 2_000.0
    scene.ask(b"GET", b"/", (fault.ABORT, b"503"))
    scene.attempt().answer(200, b"")
    assert scene.records[-1].status == 200
    assert scene.attempt().fields[fault.ABORT] == b"503", "it is nobody's header any more"
    scene.check()


def test_it_stays_over_when_the_clock_is_put_back():
    now = [2_000.0]
    scene = scene_of(Fault(abort=Abort(status=503), expires=2_000.0), wall=lambda: now[0])
    for now[0] in (2_000.0, 1_000.0):
        scene.ask()
        scene.attempt().answer(200, b"")
    assert [call.status for call in scene.records] == [200, 200]
    scene.check()


def test_what_waits_when_it_ends_goes_on():
    now = [1_998.5]
    scene = scene_of(Fault(delay=Delay(seconds=30.0), abort=Abort(status=503), expires=2_000.0), wall=lambda: now[0])
    scene.ask()
    scene.clock.advance(1.4)
    assert scene.attempts == 0
    now[0] = 2_000.1
    scene.clock.advance(0.2)
    scene.attempt().answer(200, b"")
    [call] = scene.records
    assert (call.status, call.error, call.detail) == (200, "", "fault: delayed by 1.5 s")
    assert counted(scene, "Abort") == 0
    scene.check()


def test_who_leaves_while_it_waits_is_not_counted_as_ended():
    scene = scene_of(Fault(delay=Delay(seconds=1.0), abort=Abort(status=503)))
    scene.ask().exchange.on_caller_gone("caller_gone")
    scene.clock.advance(2.0)
    assert (counted(scene, "Delay"), counted(scene, "Abort")) == (1, 0)
    scene.check()


ASKED = Fault(headers=True)


@pytest.mark.parametrize(
    ("header", "value", "after"),
    [
        pytest.param(fault.DELAY, b"250ms", 0.25, id="milliseconds"),
        pytest.param(fault.DELAY, b"3s", 3.0, id="seconds"),
        pytest.param(fault.DELAY, b"30s", 30.0, id="the longest"),
    ],
)
def test_a_request_may_ask_for_a_delay(header, value, after):
    scene = scene_of(ASKED)
    scene.ask(b"GET", b"/", (header, value))
    scene.clock.advance(after - 0.01)
    assert scene.attempts == 0
    scene.clock.advance(0.05)
    assert header not in scene.attempt().fields, "it acts once"
    scene.attempt().answer(200, b"")
    scene.check()


@pytest.mark.parametrize(("value", "status", "reset"), [(b"503", 503, ""), (b"299", 299, ""), (b"reset", 0, "fault")])
def test_a_request_may_ask_to_be_ended(value, status, reset):
    scene = scene_of(ASKED)
    caller = scene.ask(b"GET", b"/", (fault.ABORT, value))
    assert (caller.status, caller.was_reset) == (status, reset)
    scene.check()


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (fault.DELAY, b"300"),
        (fault.DELAY, b"31s"),
        (fault.DELAY, b"0ms"),
        (fault.DELAY, b"-1s"),
        (fault.ABORT, b"199"),
        (fault.ABORT, b"600"),
        (fault.ABORT, b"RESET"),
        (fault.ABORT, b""),
    ],
)
def test_what_cannot_be_read_is_told(header, value):
    scene = scene_of(ASKED)
    caller = scene.ask(b"GET", b"/", (header, value))
    assert (caller.status, scene.records[0].error) == (400, "fault")
    assert header in caller.body
    scene.check()


def test_nobody_may_ask_unless_the_filter_says_so():
    scene = scene_of(Fault(delay=Delay(seconds=1.0, numerator=0)))
    scene.ask(b"GET", b"/", (fault.DELAY, b"10s"), (fault.ABORT, b"500"))
    scene.attempt().answer(200, b"")
    assert scene.records[0].status == 200
    scene.check()


def test_who_asks_is_not_drawn_as_well():
    scene = scene_of(Fault(abort=Abort(status=503), headers=True))
    scene.ask(b"GET", b"/", (fault.DELAY, b"1ms"))
    scene.clock.advance(0.1)
    scene.attempt().answer(200, b"")
    scene.check()


@pytest.mark.parametrize("how", ["caller", "deadline", "drain"])
def test_who_leaves_while_it_is_held_is_forgotten(how):
    scene = scene_of(Fault(delay=Delay(seconds=10.0)), request_timeout=1.0 if how == "deadline" else None)
    caller = scene.ask()
    if how == "caller":
        caller.exchange.on_caller_gone("caller_gone")
    elif how == "drain":
        caller.exchange.abort("draining")
    scene.clock.advance(20.0)
    assert scene.attempts == 0
    expected = {"caller": "caller_gone", "drain": "draining"}.get(how, "deadline")
    assert scene.records[0].error == expected
    assert scene.records[0].detail.endswith("fault: delayed by 10 s"), "the log says who took the time"
    scene.check()


def test_so_many_are_held_and_no_more():
    scene = scene_of(Fault(delay=Delay(seconds=5.0)))
    callers = [scene.ask() for _ in range(fault.MOST_HELD + 1)]
    assert (scene.attempts, counted(scene, "Skipped")) == (1, 1)
    scene.attempt().answer(200, b"")
    callers[0].exchange.on_caller_gone("caller_gone")
    scene.ask()
    assert scene.attempts == 1, "there was room again"
    scene.clock.advance(6.0)
    assert scene.attempts == 1 + fault.MOST_HELD
    for attempt in scene.opened[1:]:
        attempt.answer(200, b"")
    scene.check()


def test_bodies_that_wait_are_bounded_sooner():
    scene = scene_of(Fault(delay=Delay(seconds=5.0)))
    room = fault.MOST_HELD // fault.WITH_BODY
    callers = [scene.ask(b"POST", body=b"x" * 1000) for _ in range(room - 1)]
    callers += [scene.ask() for _ in range(fault.WITH_BODY)]
    assert scene.attempts == 0
    scene.ask()
    scene.attempt().answer(200, b"")
    assert counted(scene, "Skipped") == 1
    for caller in callers:
        caller.exchange.on_caller_gone("caller_gone")
    assert scene.proxy.plan.routes["shop/reviews"].entries[0].route.filters[0].__self__.held == 0
    scene.check()


@pytest.mark.parametrize(
    "spec",
    [
        Fault(delay=Delay(seconds=31.0)),
        Fault(delay=Delay(seconds=0.0)),
        Fault(abort=Abort(status=100)),
        Fault(abort=Abort(status=600)),
        Fault(abort=Abort(status=503, numerator=2)),
    ],
    ids=repr,
)
def test_what_cannot_be_done_is_refused(spec):
    with pytest.raises(Refused) as refused:
        scene_of(spec)
    assert refused.value.field == "rules[0].filters[0]"
