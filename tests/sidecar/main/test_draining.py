"""A sidecar that leaves: begun by the operator's word, held back until nobody sends anything new, ended by SIGTERM."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Collection
from types import SimpleNamespace

import pytest
import uvloop

from sidewinder_sidecar.downstream.listener import Listener
from sidewinder_sidecar.exchange import Proxy
from sidewinder_sidecar.fleet import Fleet
from sidewinder_sidecar.main import draining
from sidewinder_sidecar.main.draining import Crowded, Drain
from sidewinder_sidecar.main.listeners import Listeners
from sidewinder_sidecar.messages import Call, Peer
from sidewinder_sidecar.plan import listeners as plans
from sidewinder_sidecar.plan.services import Table
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot import Resource, stream
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.services import ServiceSpec
from sidewinder_sidecar.snapshot.upstreams import BackendSpec, EndpointSpec, EndpointsSpec
from sidewinder_sidecar.upstream.endpoint import Endpoint
from sidewinder_sidecar.wheel import Wheel
from tests.support.calls import call

POD = "pod-1"


def made(pod: str = POD, served: Callable[[Collection[str]], int] = lambda listeners: 0, **limits: float) -> Drain:
    bounds = Limits(**limits)
    wheel = Wheel.of(asyncio.get_running_loop())
    fleet = Fleet(wheel, lambda spec, seconds: Endpoint(spec, bounds, wheel, seconds))
    proxy = Proxy(fleet, wheel, lambda call: None, bounds)
    return Drain(proxy, Listeners(proxy), bounds, pod, served)


def own(terminating: bool, last_resort: bool = False) -> dict[str, Resource]:
    spec = ProxySpec(name="reviews", namespace="shop", terminating=terminating, last_resort=last_resort)
    return {"proxy/self": spec}


def endpoints(*uids: str) -> dict[str, Resource]:
    spec = EndpointsSpec(
        name="a", endpoints=tuple(EndpointSpec(uid=uid, address="10.0.0.1", port=80, ready=False) for uid in uids)
    )
    return {"endpoints/a": spec}


OPENED: list[Listeners] = []  # by the test that runs: a loop does not close while one of them is open


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        try:
            await asyncio.wait_for(test(), 10)
        finally:
            while OPENED:
                OPENED.pop().close()

    uvloop.run(whole())


class Stuck:
    """An exchange that never ends by itself."""

    def __init__(self) -> None:
        self.aborted: list[str] = []

    def abort(self, error: str, detail: str = "") -> None:
        self.aborted.append(error)


def test_the_operators_word_begins_the_drain_and_nothing_else_does() -> None:
    async def test() -> None:
        one = made()
        one.follow(own(terminating=False) | endpoints(POD))
        asyncio.get_running_loop().call_later(0.02, one.on_retired)  # out of place: nobody leaves
        waiting = asyncio.create_task(one.may_end())
        await asyncio.sleep(0.05)
        assert not one._proxy.draining
        assert one.seconds == 0.0
        one.follow(own(terminating=True) | endpoints(POD))
        assert one._proxy.draining
        assert not waiting.done()
        one.on_retired()
        assert await waiting == "retired"
        assert 0 < one.retired_seconds <= one.seconds
        assert await one.may_end() == "retired", "who asks later need not wait"

    run(test)


@pytest.mark.parametrize("pod", [POD, ""], ids=["nobody's endpoint", "no pod"])
def test_who_was_never_told_anything_need_not_wait(pod: str) -> None:
    async def test() -> None:
        one = made(pod)
        assert await one.may_end() == "unknown"

    run(test)


def test_a_pod_that_nobody_ever_knew_may_end_at_once() -> None:
    async def test() -> None:
        one = made()
        one.follow(own(terminating=False) | endpoints("somebody else"))
        assert await one.may_end() == "unknown"

    run(test)


def test_its_own_proxy_alone_does_not_make_a_pod_known() -> None:
    async def test() -> None:
        one = made(retire_seconds=0.05)
        inbound: dict[str, Resource] = {
            "listener/inbound": ListenerSpec(
                name="inbound", direction="Inbound", address="::", port=15006, services=("inbound-80",)
            ),
            "service/inbound-80": ServiceSpec(name="inbound-80", namespace="shop", port=80, backend="inbound-80"),
            "backend/inbound-80": BackendSpec(name="inbound-80", endpoints="inbound-80"),
            "endpoints/inbound-80": EndpointsSpec(
                name="inbound-80", endpoints=(EndpointSpec(uid=POD, address="10.0.0.1", port=80),)
            ),
        }
        one.follow(own(terminating=False) | inbound)
        assert await one.may_end() == "unknown"
        one.follow(own(terminating=False) | inbound | endpoints(POD))
        assert await one.may_end() == "late"

    run(test)


def test_who_was_known_once_waits_although_it_is_named_no_more() -> None:
    async def test() -> None:
        one = made(retire_seconds=0.05)
        one.follow(own(terminating=False) | endpoints(POD))
        one.follow(own(terminating=False) | endpoints())
        assert await one.may_end() == "late"

    run(test)


def test_waiting_is_bounded_in_time_and_told(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        one = made(retire_seconds=0.05)
        one.follow(own(terminating=True))
        assert await one.may_end() == "late"
        assert one.waiting == 0

    run(test)
    assert "not retired within 0.05 s" in caplog.text


def test_so_many_wait_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "MOST_WAITING", 3)

    async def test() -> None:
        one = made()
        one.follow(own(terminating=True))
        waiting = [asyncio.create_task(one.may_end()) for _ in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(Crowded):
            await one.may_end()
        one.on_retired()
        assert await asyncio.gather(*waiting) == ["retired"] * 3
        assert one.waiting == 0

    run(test)


def test_a_process_that_ends_holds_nobody_back() -> None:
    async def test() -> None:
        one = made()
        one.follow(own(terminating=True))
        waiting = asyncio.create_task(one.may_end())
        await asyncio.sleep(0)
        await one.finish(asyncio.Event())
        assert await waiting == "leaving"

    run(test)


def outbound(one: Drain) -> None:
    """One's configuration has a listener that the application calls others by."""
    spec = ListenerSpec(name="out", direction="Outbound", address="127.0.0.1", port=15001)
    one._proxy.plan.listeners["out"] = plans.Listener(spec, Table(()), None)


@pytest.mark.parametrize("asks", ["before", "after"])
def test_an_application_finishes_what_it_answers(asks: str) -> None:
    async def test() -> None:
        one = made()
        one.follow(own(terminating=True) | endpoints(POD))
        answered = call()
        one._proxy.running.add(answered)
        if asks == "after":
            one.on_retired()
        waiting = asyncio.create_task(one.may_end())
        await asyncio.sleep(0.02)
        one.on_retired()
        await asyncio.sleep(0.15)
        assert not waiting.done(), "it would be broken off"
        one._proxy.running.discard(answered)
        assert await waiting == "retired"
        assert one.waiting == 0

    run(test)


def test_what_an_application_calls_and_what_is_relayed_does_not_hold_it_back() -> None:
    async def test() -> None:
        one = made()
        outbound(one)
        one.follow(own(terminating=True) | endpoints(POD))
        one.on_retired()
        for each in (Stuck(), call(listener="out")):
            one._proxy.running.add(each)
        assert await asyncio.wait_for(one.may_end(), 0.05) == "retired"

    run(test)


@pytest.mark.parametrize("upgrade", [b"websocket", b"connect"])
def test_what_may_last_for_ever_holds_an_application_back_half_as_long(
    upgrade: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = itertools.count(1000.0, 0.01)  # each look at the clock is a hundredth later, however busy the machine is
    clock = SimpleNamespace(monotonic=lambda: next(steps))

    async def test() -> None:
        monkeypatch.setattr(draining, "time", clock)
        monkeypatch.setattr(draining, "ANSWERING_SECONDS", 0.001)
        one = made(drain_seconds=0.6)
        one.follow(own(terminating=True) | endpoints(POD))
        one.on_retired()
        one._proxy.running.add(asked(upgrade))
        began = clock.monotonic()
        assert await one.may_end() == "retired"
        assert 0.3 <= clock.monotonic() - began < 0.5

    run(test)


def test_what_an_application_answers_is_waited_for_so_long_and_told(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        one = made(drain_seconds=0.15, retire_seconds=0.05)
        one.follow(own(terminating=True) | endpoints(POD))
        one._proxy.running.add(call())
        assert await one.may_end() == "late"

    run(test)
    assert "1 requests and 0 upgraded connections still run" in caplog.text


def test_a_stranger_does_not_wait_for_requests_of_a_pod_that_stays() -> None:
    async def test() -> None:
        one = made(retire_seconds=0.05)
        one.follow(own(terminating=False) | endpoints(POD))
        one._proxy.running.add(call())
        assert await asyncio.wait_for(one.may_end(), 0.5) == "late"

    run(test)


def test_a_process_that_ends_holds_nobody_back_for_its_requests() -> None:
    async def test() -> None:
        one = made()
        one.follow(own(terminating=True))
        one.on_retired()
        answered, running = call(), one._proxy.running
        running.add(answered)
        asyncio.get_running_loop().call_later(0.3, running.discard, answered)
        waiting = asyncio.create_task(one.may_end())
        await asyncio.sleep(0)
        await asyncio.gather(one.finish(asyncio.Event()), asyncio.wait_for(waiting, 0.2))

    run(test)


async def called(one: Drain) -> tuple[Listener, Listener]:
    """One has a listener for its application's callers, and one for whom it calls; both are open."""
    outbound(one)
    inbound = ListenerSpec(name="in", direction="Inbound", address="127.0.0.1", port=0)
    one._proxy.plan.listeners["in"] = plans.Listener(inbound, Table(()), None)
    specs = [inbound, ListenerSpec(name="out", direction="Outbound", address="127.0.0.1", port=0)]
    one._listeners.follow(await one._listeners.prepare(specs))
    OPENED.append(one._listeners)
    return one._listeners.open["in"][1], one._listeners.open["out"][1]


def test_a_last_resort_serves_on_as_if_it_stayed_until_it_is_none() -> None:
    async def test() -> None:
        one = made()
        one.follow(own(True, last_resort=True) | endpoints(POD))
        assert not one._proxy.draining, "it is ready, and connections are kept"
        assert one.seconds > 0
        waiting = asyncio.create_task(one.may_end())
        await asyncio.sleep(0.05)
        one.follow(own(True) | endpoints(POD))
        assert one._proxy.draining
        await asyncio.sleep(0.15)
        assert not waiting.done()
        one.on_retired()
        assert await waiting == "retired"
        one.follow(own(True, last_resort=True))
        assert one._proxy.draining, "nobody comes back"

    run(test)


def test_who_was_told_to_leave_does_so_though_it_is_a_last_resort() -> None:
    async def test() -> None:
        one = made()
        one.begin("asked")
        one.follow(own(True, last_resort=True))
        assert one._proxy.draining

    run(test)


def test_a_last_resort_that_nobody_calls_may_end_and_takes_nobody_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every container asks; what the application itself calls goes on."""
    monkeypatch.setattr(draining, "QUIET_SECONDS", 0.3)

    async def test() -> None:
        asked: list[Collection[str]] = []

        def served(listeners: Collection[str]) -> int:
            asked.append(listeners)
            return 7

        one = made(served=served)
        inbound, outbound = await called(one)
        one.follow(own(True, last_resort=True) | endpoints(POD))
        began = time.monotonic()
        assert await asyncio.gather(one.may_end(), one.may_end()) == ["idle", "idle"]
        assert time.monotonic() - began >= 0.3
        assert {*map(tuple, asked)} == {("in",)}
        assert (inbound.closed, outbound.closed) == (True, False)
        assert one._proxy.draining, "who asks for readiness hears of it"
        assert await one.may_end() == "idle", "who asks later need not wait"
        one.follow(own(True, last_resort=True) | endpoints(POD))
        assert one._proxy.draining

    run(test)


@pytest.mark.parametrize("heard", [True, False])
def test_a_last_resort_says_that_it_ends_and_waits_a_moment_until_nobody_calls(
    heard: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "QUIET_SECONDS", 0.05)
    if not heard:
        monkeypatch.setattr(draining, "RESIGNED_SECONDS", 0.2)

    async def test() -> None:
        one, said = made(), list[stream.Resigned]()
        inbound, _ = await called(one)

        async def resign(message: stream.Resigned) -> None:
            said.append(message)
            assert one._proxy.draining
            assert not inbound.closed, "somebody may call until then"
            if heard:
                one.follow(own(True) | endpoints(POD))
                one.on_retired()

        one.resign = resign
        one.follow(own(True, last_resort=True) | endpoints(POD))
        assert await asyncio.gather(one.may_end(), one.may_end()) == ["idle", "idle"]
        assert inbound.closed
        (message,) = said
        assert 0.05 <= message.resigned <= one.seconds
        assert bool(one.retired_seconds) is heard

    run(test)


@pytest.mark.parametrize("how", ["answered", "running", "connected"])
def test_a_last_resort_that_is_called_goes_on_until_the_bound(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clock and theirs are the same: each look finds another call."""
    monkeypatch.setattr(draining, "QUIET_SECONDS", 0.2)
    monkeypatch.setattr(draining, "ANSWERING_SECONDS", 0.001)

    async def test() -> None:
        count = 0

        def served(listeners: Collection[str]) -> int:
            nonlocal count
            count += how == "answered"
            if how == "connected":
                one._proxy.callers.met("in", 80, Peer("192.0.2.7", 1), 1.0)
            return count

        one = made(served=served, retire_seconds=0.6, drain_seconds=0.1)
        inbound, _ = await called(one)
        if how == "running":
            one._proxy.running.add(call())
        one.follow(own(True, last_resort=True) | endpoints(POD))
        began = time.monotonic()
        assert await one.may_end() == "late"
        assert time.monotonic() - began >= 0.6
        assert inbound.closed

    run(test)


def test_a_stranger_who_asked_before_a_pod_became_a_last_resort_does_not_end_it() -> None:
    async def test() -> None:
        one = made(retire_seconds=0.3)
        inbound, _ = await called(one)
        one.follow(own(False) | endpoints(POD))
        stranger = asyncio.create_task(one.may_end())
        one.follow(own(True, last_resort=True) | endpoints(POD))
        assert one._began is not None
        one._began += 60  # it became one long after
        assert await stranger == "late"
        assert not inbound.closed
        assert not one._proxy.draining

    run(test)


async def leaves(one: Drain, monkeypatch: pytest.MonkeyPatch) -> asyncio.Task[str]:
    """It has retired, and its application asks; times are a hundredth."""
    monkeypatch.setattr(draining, "ANSWERING_SECONDS", 0.005)
    monkeypatch.setattr(draining, "HUSH_SECONDS", 0.1)
    one.follow({**own(True), **endpoints(POD)})
    one.on_retired()
    waiting = asyncio.create_task(one.may_end())
    await asyncio.sleep(0)
    return waiting


@pytest.mark.parametrize(
    ("ago", "identity"),
    [
        pytest.param(None, "", id="nobody-came"),
        pytest.param(1.0, "spiffe://cluster.local/ns/shop/sa/web", id="of-the-mesh"),
        pytest.param(draining.RECENT_SECONDS + 1, "", id="long-ago"),
    ],
)
def test_where_no_stranger_came_of_late_none_is_waited_for(
    ago: float | None, identity: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "sidewinder.drain")

    async def test() -> None:
        one = made()
        monkeypatch.setattr(one._proxy, "clock", lambda: 1000.0)
        if ago is not None:
            one._proxy.callers.met("in", 80, Peer("192.0.2.7", 1, bool(identity), identity), 1000.0 - ago)
        assert await (await leaves(one, monkeypatch)) == "retired"
        assert "not of the mesh" not in caplog.text

    run(test)


def test_strangers_are_waited_for_until_none_has_come_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        one, now = made(), [1000.0]
        monkeypatch.setattr(one._proxy, "clock", lambda: now[0])
        one._proxy.callers.met("in", 80, Peer("192.0.2.7", 1), 990.0)
        waiting = await leaves(one, monkeypatch)
        assert not waiting.done(), "it has only begun to leave"
        for _ in range(5):
            await asyncio.sleep(0.04)
            one._proxy.callers.met("in", 80, Peer("192.0.2.7", 1), now[0])
            now[0] += 0.05
        assert not waiting.done(), "they still come"
        now[0] += 0.1
        assert await waiting == "retired"

    run(test)


@pytest.mark.parametrize("bound", ["STRANGERS_SECONDS", "retire_seconds"])
def test_strangers_who_never_stop_are_not_waited_for_for_ever(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        one = made(retire_seconds=0.2) if bound == "retire_seconds" else made()
        if bound != "retire_seconds":
            monkeypatch.setattr(draining, bound, 0.2)
        one._proxy.callers.met("in", 80, Peer("192.0.2.7", 1), one._proxy.clock() + 60)
        began = time.monotonic()
        assert await (await leaves(one, monkeypatch)) == "retired"
        assert 0.2 <= time.monotonic() - began < 5

    run(test)


def test_a_process_that_ends_waits_for_no_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        one = made()
        one._proxy.callers.met("in", 80, Peer("192.0.2.7", 1), one._proxy.clock() + 60)
        waiting = await leaves(one, monkeypatch)
        await one.finish(asyncio.Event())
        assert await asyncio.wait_for(waiting, 1) == "retired"

    run(test)


def test_what_does_not_end_in_time_is_cut_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    async def test() -> None:
        one = made(drain_seconds=0.05)
        stuck = Stuck()
        one._proxy.running.add(stuck)
        await one.finish(asyncio.Event())
        assert stuck.aborted == ["draining"]
        assert (one.requests, one.cut) == (1, 1)
        assert 0.05 <= one.seconds < 5

        told = one.report()
        assert (told.requests, told.relayed, told.cut_requests, told.cut_connections) == (1, 1, 1, 0)
        assert 0.05 <= told.drained <= told.leaving == one.seconds
        assert told.retired == 0.0

    run(test)
    assert "waited for 1 requests (1 relayed) on 0 connections; 1 requests and 0 connections were cut" in caplog.text


def test_it_ends_as_soon_as_nothing_runs() -> None:
    async def test() -> None:
        one = made(drain_seconds=60.0)
        ending = Stuck()
        one._proxy.running.add(ending)
        asyncio.get_running_loop().call_later(0.05, one._proxy.running.discard, ending)
        await one.finish(asyncio.Event())
        assert ending.aborted == []
        assert (one.requests, one.cut) == (1, 0)

    run(test)


def test_who_hurries_does_not_wait() -> None:
    async def test() -> None:
        one = made(drain_seconds=60.0)
        one._proxy.running.add(Stuck())
        hurry = asyncio.Event()
        asyncio.get_running_loop().call_later(0.02, hurry.set)
        await one.finish(hurry)
        assert one.cut == 1

    run(test)


def asked(upgrade: bytes) -> Call:
    """A call that asked for this protocol."""
    made = call()
    made.request.upgrade = upgrade
    return made


def test_what_was_waited_for_is_told_by_kind() -> None:
    async def test() -> None:
        one = made()
        one.follow(own(terminating=True))
        one.on_retired()
        running = [asked(upgrade) for upgrade in (b"", b"", b"websocket", b"connect")]
        for each in (*running, Stuck()):
            one._proxy.running.add(each)
        asyncio.get_running_loop().call_later(0.03, one._proxy.running.clear)
        await one.finish(asyncio.Event())
        told = one.report()
        assert (told.requests, told.upgraded, told.relayed, told.cut_requests) == (5, 2, 1, 0)
        assert 0.02 <= told.drained <= told.leaving < 5
        assert 0 < told.retired <= told.leaving

    run(test)
