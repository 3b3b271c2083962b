"""Every try is settled once, with what came of it; limits count every request once, whatever happens to it."""

from __future__ import annotations

import errno
import os

import pytest

from sidewinder_sidecar.messages import ANSWERING, CONNECT, SENT
from sidewinder_sidecar.observed import UNREACHED
from sidewinder_sidecar.resilience.breaker import PATIENCE, UNKNOWN, Rules
from sidewinder_sidecar.resilience.outlier import GRACE
from sidewinder_sidecar.snapshot.upstreams import BreakerSpec, ConcurrencySpec, LimitsSpec
from tests.support.watched import RETRY, scene_of, watched


def test_nobody_watches_nobody_is_told():
    scene = scene_of()
    assert not scene.fleet.backends["v1"].watched
    caller = scene.ask()
    assert caller.exchange.opened == 0.0
    scene.attempt().answer(200, b"ok")


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "in pieces"])
@pytest.mark.parametrize("status", [200, 404, 503])
def test_an_answer_is_told_with_the_time_to_its_head(status, whole):
    scene, ledger = watched()
    scene.ask()
    scene.clock.advance(0.25)
    attempt = scene.attempt()
    attempt.answer(status, b"fine" if whole else None, whole=whole)
    if not whole:
        assert ledger.told == ([(503, "", 0.25)] if status == 503 else [])
        scene.clock.advance(5.0)
        attempt.data(b"fine")
        attempt.end()
    assert ledger.told == [(status, "", 0.25)]
    scene.check()


def test_an_answer_that_breaks_off_is_a_failure():
    scene, ledger = watched()
    scene.ask()
    attempt = scene.attempt()
    attempt.answer(200)
    attempt.fail(ANSWERING, "incomplete")
    assert ledger.told == [(0, "incomplete", 0.0)]
    scene.check()


def test_each_try_of_a_request_is_told():
    scene, ledger = watched(addresses=3, retry=RETRY)
    scene.ask()
    scene.attempt().fail(CONNECT, "connect_refused")
    scene.clock.advance(0.1)
    scene.attempt().answer(429, b"later", whole=True)
    scene.clock.advance(0.1)
    scene.attempt().answer(200, b"ok", whole=True)
    assert [told[:2] for told in ledger.told] == [(0, "connect_refused"), (429, ""), (200, "")]
    scene.check()


def test_an_application_that_its_sidecar_did_not_reach_is_one_that_could_not_be_connected_to():
    scene, ledger = watched()
    scene.ask()
    scene.attempt().answer(503, b"", (UNREACHED, b"1"))
    assert ledger.told[0][:2] == (503, "connect_failed")


def test_who_says_that_there_is_too_much_to_do_has_not_failed():
    scene, ledger = watched()
    scene.ask()
    scene.attempt().answer(503, b"", (b"proxy-status", b'sidewinder; error=connection_limit_reached; details="x"'))
    scene.ask()
    scene.attempt().answer(503, b"", (b"proxy-status", b"sidewinder; error=destination_unavailable"))
    assert [told[:2] for told in ledger.told] == [(503, "overloaded"), (503, "")]
    assert Rules(BreakerSpec()).verdict(503, "overloaded") == UNKNOWN


def test_a_caller_that_leaves_says_nothing_before_the_answer_and_well_after_it_began():
    scene, ledger = watched()
    scene.ask().exchange.on_caller_gone("caller_gone")
    caller = scene.ask()
    scene.attempt().answer(200)
    caller.exchange.on_caller_gone("caller_gone")
    assert [told[:2] for told in ledger.told] == [(499, "caller_gone"), (200, "")]
    scene.check()


@pytest.mark.parametrize(
    ("options", "asked", "error"),
    [
        pytest.param({"request_timeout": 1.0}, (), "deadline", id="the route's"),
        pytest.param({"backend_timeout": 1.0}, (), "try_timeout", id="a try's"),
        pytest.param({}, ((b"x-request-deadline", b"1s"),), "caller_gone", id="the caller's own"),
        pytest.param(
            {"request_timeout": 2.0}, ((b"x-request-deadline", b"1s"),), "caller_gone", id="shorter than the route's"
        ),
    ],
)
def test_whose_time_is_over(options, asked, error):
    scene, ledger = watched(**options)
    scene.ask(b"GET", b"/", *asked)
    scene.clock.advance(3.0)
    assert [told[1] for told in ledger.told] == [error]
    scene.check()


@pytest.mark.parametrize(
    ("limit", "error"),
    [
        pytest.param({"request_timeout": 1.0}, "deadline", id="the request's"),
        pytest.param({"backend_timeout": 1.0}, "try_timeout", id="a try's"),
    ],
)
@pytest.mark.parametrize("takes", [True, False], ids=["the caller is slow", "the endpoint takes no more"])
def test_who_sends_a_body_slowly_has_no_endpoint_ejected(limit, error, takes):
    scene, ledger = watched(**limit)
    caller = scene.ask(b"PUT", body=None, length=100)
    scene.attempt().writable = takes
    caller.exchange.on_request_data(b"one by one")
    scene.clock.advance(2.0)
    assert [told[1] for told in ledger.told] == ["caller_gone" if takes else error]
    scene.check()


@pytest.mark.parametrize("error", ["deadline", "try_timeout", "idle"])
@pytest.mark.parametrize("takes", [True, False], ids=["the endpoint is slow", "the caller takes no more"])
def test_who_reads_slowly_has_no_endpoint_ejected(error, takes):
    limits = {"deadline": {"request_timeout": 1.0}, "try_timeout": {"backend_timeout": 1.0}, "idle": {}}
    scene, ledger = watched(**limits[error])
    caller = scene.ask()
    attempt = scene.attempt()
    caller.writable = takes
    attempt.answer(200)
    attempt.data(b"a part")
    assert attempt.paused is not takes
    scene.clock.advance(200.0)
    assert [told[1] for told in ledger.told] == [error if takes else "caller_gone"]
    scene.check()


@pytest.mark.parametrize("takes", [True, False], ids=["the endpoint broke off", "it would not wait for the caller"])
def test_an_endpoint_that_gives_up_on_a_slow_reader_has_not_failed(takes):
    scene, ledger = watched()
    caller = scene.ask()
    attempt = scene.attempt()
    caller.writable = takes
    attempt.answer(200)
    attempt.data(b"a part")
    attempt.fail(ANSWERING, "incomplete")
    assert [told[1] for told in ledger.told] == ["incomplete" if takes else "caller_gone"]
    scene.check()


def test_what_this_proxy_lacks_is_nobodys_failure():
    scene, ledger = watched()
    scene.ask()
    scene.attempt().fail(CONNECT, "connect_failed", os.strerror(errno.EMFILE))
    scene.ask()
    scene.attempt().fail(CONNECT, "connect_failed", os.strerror(errno.EHOSTUNREACH))
    assert [told[1] for told in ledger.told] == ["caller_gone", "connect_failed"]
    scene.check()


def test_who_has_caught_up_is_not_blamed():
    scene, ledger = watched(request_timeout=3.0)
    caller = scene.ask(b"PUT", body=None, length=4)
    attempt = scene.attempt()
    attempt.writable = False
    caller.exchange.on_request_data(b"body")
    attempt.write_on()
    caller.exchange.on_request_end(None)
    caller.writable = False
    attempt.answer(200)
    attempt.data(b"a part")
    caller.writable = True
    caller.exchange.on_caller_writable()
    scene.clock.advance(4.0)
    assert [told[1] for told in ledger.told] == ["deadline"]


def test_a_tunnel_is_told_when_it_opens():
    scene, ledger = watched()
    caller = scene.ask(upgrade=b"websocket")
    attempt = scene.attempt()
    attempt.open_tunnel()
    assert [told[:2] for told in ledger.told] == [(101, "")]
    attempt.end()
    caller.exchange.on_request_end(None)
    assert len(ledger.told) == 1


def test_an_endpoint_is_ejected_and_comes_back_by_exactly_one_request():
    scene = scene_of(addresses=3, breaker=BreakerSpec(consecutive=2, open_seconds=1.0))
    target = scene.fleet.backends["v1"]
    bad = scene.made[0]
    while bad.usable:
        scene.ask()
        attempt = scene.attempt()
        attempt.answer(503 if attempt.endpoint is bad else 200, b"", whole=True)
    for _ in range(50):
        scene.ask()
        assert scene.attempt().endpoint is not bad
        scene.attempt().answer(200, b"", whole=True)
    scene.clock.advance(1.1)
    for _ in range(10):
        scene.ask()
    running = [attempt for attempt in scene.opened if not attempt.over]
    [probe] = [attempt for attempt in running if attempt.endpoint is bad]
    for attempt in running:
        if attempt is not probe:
            attempt.answer(200, b"", whole=True)
    assert not bad.usable
    probe.answer(200)  # its head is enough
    assert bad.usable
    probe.end()
    assert target.outliers.ejections == 1
    scene.check()


def test_what_may_not_be_sent_twice_is_no_probe_while_others_come():
    scene = scene_of(addresses=3, breaker=BreakerSpec(consecutive=1, open_seconds=1.0))
    scene.ask()
    bad = scene.attempt().endpoint
    scene.attempt().answer(503, b"", whole=True)
    scene.clock.advance(1.1)
    for key in ((), ((b"idempotency-key", b"7"),)):
        scene.ask(b"POST", b"/", *key, body=b"an order")
        assert (scene.attempt().endpoint is bad) is bool(key)
        if not key:
            scene.attempt().answer(200, b"", whole=True)
    scene.attempt().answer(503, b"", whole=True)
    scene.clock.advance(2.1 + GRACE)
    scene.ask(b"POST", b"/", body=b"another")
    assert scene.attempt().endpoint is bad, "nothing else comes"
    scene.attempt().answer(200, b"", whole=True)
    assert bad.usable
    scene.check()


@pytest.mark.parametrize("method", [b"GET", b"PUT"])
@pytest.mark.parametrize("how", ["whole", "in pieces", "reset"])
def test_a_probe_that_fails_costs_nobody_a_request_that_changes_nothing(method, how):
    scene = scene_of(addresses=3, breaker=BreakerSpec(consecutive=1, open_seconds=1.0))
    scene.ask()
    bad = scene.attempt().endpoint
    scene.attempt().answer(503, b"", whole=True)
    scene.clock.advance(1.1)
    caller = scene.ask(method)
    assert scene.attempt().endpoint is bad
    if how == "reset":
        scene.attempt().fail(SENT, "reset")
    else:
        scene.attempt().answer(503, b"ill", whole=how == "whole")
    assert bad.ejected
    if method == b"PUT":
        assert caller.status >= 500, "no rule says that it may be sent twice"
    else:
        assert caller.status == 0
        scene.clock.advance(0.1)
        assert scene.attempt().endpoint is not bad
        scene.attempt().answer(200, b"well", whole=True)
        assert (caller.status, caller.body, caller.exchange.retries) == (200, b"well", 1)
    scene.check()


def test_where_there_is_nobody_else_a_probes_answer_is_the_answer():
    scene = scene_of(addresses=1, breaker=BreakerSpec(consecutive=1, open_seconds=1.0, max_ejected_percent=100))
    scene.ask()
    scene.attempt().answer(503, b"", whole=True)
    scene.clock.advance(1.1)
    assert scene.ask().exchange.endpoint.probing
    scene.attempt().answer(503, b"ill", whole=True)
    assert scene.attempts == 2
    scene.check()


def test_an_upload_that_trickles_in_keeps_no_endpoint_away():
    scene = scene_of(addresses=3, breaker=BreakerSpec(consecutive=1, open_seconds=1.0))
    scene.ask()
    bad = scene.attempt().endpoint
    scene.attempt().answer(503, b"", whole=True)
    scene.clock.advance(1.1)
    slow = scene.ask(b"PUT", body=None, length=1000)
    probe = scene.attempt()
    assert probe.endpoint is bad
    for _ in range(int(PATIENCE) + 1):
        scene.clock.advance(1.0)
        slow.exchange.on_request_data(b"x")
    scene.ask()
    assert scene.attempt().endpoint is bad
    scene.attempt().answer(200, b"", whole=True)
    assert bad.usable
    probe.fail(SENT, "reset")
    scene.check()


def test_a_probe_that_never_begins_is_given_to_the_next_request():
    scene = scene_of(
        addresses=3,
        breaker=BreakerSpec(consecutive=1, open_seconds=1.0),
        concurrency=ConcurrencySpec(whole=LimitsSpec(requests=1)),
    )
    scene.ask()
    bad = scene.attempt().endpoint
    scene.attempt().answer(503, b"", whole=True)
    caller = scene.ask()  # the one that is allowed
    scene.clock.advance(1.1)
    refused = scene.ask()
    assert (refused.status, bad.probing) == (503, False)
    scene.attempt().answer(200, b"", whole=True)
    assert caller.status == 200
    scene.ask()
    assert scene.attempt().endpoint is bad
    scene.attempt().answer(200, b"", whole=True)
    assert bad.usable
    scene.check()


def test_too_many_are_refused_at_once_with_the_reason_and_a_time():
    scene = scene_of(concurrency=ConcurrencySpec(whole=LimitsSpec(requests=2)))
    for _ in range(2):
        scene.ask()
    refused = scene.ask()
    assert (refused.status, refused.header(b"retry-after")) == (503, b"1")
    assert refused.header(b"proxy-status") == (
        b'sidewinder; error=connection_limit_reached; details="2 requests to v1 run already"'
    )
    assert scene.records[-1].error == "overloaded"
    for attempt in scene.opened:
        attempt.answer(200, b"", whole=True)
    scene.ask()
    scene.attempt().answer(200, b"", whole=True)
    assert scene.fleet.backends["v1"].limits.requests == 0
    scene.check()


def test_who_is_full_is_passed_over_until_all_are():
    scene = scene_of(addresses=2, concurrency=ConcurrencySpec(endpoint=LimitsSpec(requests=1)))
    assert scene.ask().status == scene.ask().status == 0
    assert {attempt.endpoint for attempt in scene.opened} == set(scene.made)
    limits = scene.fleet.backends["v1"].limits
    assert sum(limits.refused.values()) == 0, "who was passed over has refused nobody"
    assert scene.ask().status == 503
    assert limits.refused["requests"] == 1
    for attempt in scene.opened:
        attempt.answer(200, b"", whole=True)
    scene.check()
