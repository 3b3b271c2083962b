"""A replica follows the others over real sockets: killed, cut off, silent, slow and lying ones included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from aiohttp import web

from sidewinder_operator.compile.project import Encoded
from sidewinder_operator.discovery.acks import Acks, Having, Maybe
from sidewinder_operator.discovery.feed import Feed
from sidewinder_operator.discovery.peers import Peer, Peers, found
from sidewinder_operator.discovery.store import Store
from sidewinder_operator.problems import Reference
from sidewinder_operator.resources.core import EndpointSlice
from sidewinder_operator.resources.read import read
from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from tests.support.clock import eventually
from tests.support.relay import Relay

ROUTE = Reference("ApiRoute", "shop", "reviews")


def encoded(value: int = 1) -> Encoded:
    raw = b'{"value":%d}' % value
    return Encoded("route/shop/reviews", snapshot.version(raw), raw, None, (ROUTE,))


def proxy(pod: str, terminating: bool = False) -> Encoded:
    raw = snapshot.encode(ProxySpec(name=pod, namespace="shop", terminating=terminating))
    return Encoded("proxy/self", snapshot.version(raw), raw, None, ())


class Replica:
    """One replica's knowledge, its feed behind a port, and its view of the others."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.store = Store()
        self.acks = Acks(self.store)
        self.store.publish({pod: {"route/shop/reviews": encoded()} for pod in ("a", "b")})
        self.feed = Feed(self.acks, lambda request: True, gather_seconds=0.01, ping_seconds=0.05)
        self.seen: dict[str, Peer] = {}
        self.changes = 0
        self.peers = Peers(
            self.acks, lambda: self.seen, lambda: None, who=name, changed=self.changed,
            look_seconds=0.02, grace_seconds=0.3, silence_seconds=0.2,
        )  # fmt: skip
        self.runner: web.AppRunner | None = None
        self.port = 0

    def changed(self) -> None:
        self.changes += 1

    async def open(self) -> None:
        application = web.Application()
        self.feed.route(application)
        self.runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()
        self.port = self.runner.addresses[0][1]

    async def kill(self) -> None:
        assert self.runner is not None
        await self.runner.cleanup()

    def see(self, other: Replica, port: int = 0, **conditions: bool) -> None:
        self.seen[f"uid-{other.name}"] = peer(other.name, port or other.port, **conditions)

    def have(self, pod: str, epoch: int = 1, value: int = 1) -> None:
        self.acks.tell(pod, Having(epoch=epoch, versions={"route/shop/reviews": encoded(value).version}))


def peer(name: str, port: int, **conditions: bool) -> Peer:
    return Peer(uid=f"uid-{name}", name=name, address="127.0.0.1", port=port, **conditions)


@asynccontextmanager
async def two() -> AsyncIterator[tuple[Replica, Replica]]:
    """The first follows the second."""
    first, second = Replica("one"), Replica("two")
    await second.open()
    first.see(second)
    running = asyncio.create_task(first.peers.run())
    try:
        yield first, second
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await second.kill()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(test(), 30)

    uvloop.run(main())


def test_what_the_others_were_told_counts_here() -> None:
    async def test() -> None:
        async with two() as (first, second):
            first.have("a")
            second.have("b", epoch=3)
            assert first.acks.standing(ROUTE).missing == ("b",)
            await eventually(lambda: first.acks.standing(ROUTE).acknowledged == 2)
            assert first.peers.unheard() == ()
            assert not first.peers.unsure()
            second.have("b", epoch=3, value=2)
            await eventually(lambda: first.acks.standing(ROUTE).missing == ("b",))
            second.have("b", epoch=3)
            await eventually(lambda: first.acks.standing(ROUTE).acknowledged == 2)
            second.acks.gone("b", 3)
            await eventually(lambda: first.acks.standing(ROUTE).missing == ("b",))

    run(test)


def test_what_is_open_there_is_known_here_and_who_is_sworn_off_after_it() -> None:
    async def test() -> None:
        async with two() as (first, second):
            second.acks.expect("b", Maybe(epoch=1, versions=({"endpoints/shop/web:80": "1"},)))
            await eventually(lambda: [*first.acks.open()] == [("b", {"endpoints/shop/web:80": "1"})])
            assert not first.acks.is_sworn("b")
            second.store.publish({pod: {"proxy/self": proxy(pod, terminating=pod == "b")} for pod in ("a", "b")})
            await eventually(lambda: first.acks.is_sworn("b"))
            assert not first.acks.is_sworn("a")
            second.acks.expect("b", Maybe())
            await eventually(lambda: not [*first.acks.open()])
            second.store.publish({"a": {"proxy/self": proxy("a")}})
            await eventually(lambda: not first.acks.is_sworn("b"))

    run(test)


def test_who_is_asked_anew_says_anew_what_is_open_and_who_is_sworn_off() -> None:
    async def test() -> None:
        async with two() as (first, second):
            second.acks.expect("b", Maybe(epoch=1, versions=({"endpoints/shop/web:80": "1"},)))
            second.store.publish({pod: {"proxy/self": proxy(pod, terminating=pod == "b")} for pod in ("a", "b")})
            await eventually(lambda: first.acks.is_sworn("b") and bool([*first.acks.open()]))
            await second.kill()
            second.acks.expect("b", Maybe())
            second.store.publish({"a": {"proxy/self": proxy("a")}})
            await second.open()
            await eventually(lambda: not first.acks.is_sworn("b") and not [*first.acks.open()])

    run(test)


def test_what_a_proxy_wants_there_is_wanted_here() -> None:
    async def test() -> None:
        async with two() as (first, second):
            second.acks.tell("b", Having(epoch=1, wants=("reviews.shop",)))
            await eventually(lambda: first.store.wants("b") == ("reviews.shop",))

    run(test)


def test_one_that_was_killed_is_named_after_a_grace_and_heard_again_when_it_is_back() -> None:
    async def test() -> None:
        async with two() as (first, second):
            first.have("a")
            second.have("b")
            await eventually(lambda: first.acks.standing(ROUTE).acknowledged == 2)
            await second.kill()
            await eventually(first.peers.unsure)
            assert first.acks.standing(ROUTE).acknowledged == 2, "for a moment what it told holds on"
            await eventually(lambda: first.peers.unheard() == ("two",))
            await eventually(lambda: first.acks.standing(ROUTE).missing == ("b",))
            changes = first.changes
            second.acks.gone("b", 1)
            second.have("b", epoch=2)
            await second.open()
            await eventually(lambda: first.acks.standing(ROUTE).acknowledged == 2)
            assert first.peers.unheard() == ()
            assert first.changes > changes

    run(test)


def test_how_long_one_has_been_missing_is_known() -> None:
    async def test() -> None:
        async with two() as (first, second):
            await eventually(lambda: first.peers.synced() == {"two": True})
            assert first.peers.apart() == 0.0
            await second.kill()
            await eventually(lambda: first.peers.apart() > 0.2)
            first.seen["uid-three"] = peer("three", 1)
            await eventually(lambda: 0.0 < first.peers.apart() < 0.2, 1)
            first.seen.clear()
            await eventually(lambda: first.peers.apart() == 0.0)

    run(test)


def test_one_that_has_gone_for_good_is_missed_by_nobody() -> None:
    async def test() -> None:
        async with two() as (first, second):
            second.have("b")
            await eventually(lambda: "b" in first.acks.having)
            first.seen.clear()
            await eventually(lambda: "b" not in first.acks.having)
            assert first.peers.unheard() == ()
            assert not first.peers.unsure()
            await eventually(lambda: not second.feed.streams)

    run(test)


def test_one_that_leaves_is_not_missed_when_its_stream_has_ended() -> None:
    async def test() -> None:
        async with two() as (first, second):
            await eventually(lambda: first.peers.synced() == {"two": True})
            first.see(second, terminating=True)
            await second.kill()
            await eventually(lambda: first.peers.synced() == {"two": False})
            assert not first.peers.unsure()
            assert first.peers.unheard() == ()

    run(test)


def test_one_that_never_served_is_not_missed_and_one_that_has_is() -> None:
    async def test() -> None:
        async with two() as (first, second):
            first.seen["uid-new"] = peer("new", 1, serving=False)
            await eventually(lambda: first.peers.synced() == {"two": True, "new": False})
            await asyncio.sleep(0.4)
            assert first.peers.unheard() == ()
            first.see(second, serving=False)
            await second.kill()
            await eventually(lambda: first.peers.unheard() == ("two",))

    run(test)


def test_one_that_is_cut_off_is_noticed_by_its_silence() -> None:
    async def test() -> None:
        async with two() as (first, second):
            relay = Relay("127.0.0.1", second.port)
            async with relay.serving():
                first.see(second, relay.port)
                second.have("b")
                await eventually(lambda: "b" in first.acks.having)
                relay.hold()
                await eventually(lambda: first.peers.unheard() == ("two",))
                await eventually(lambda: "b" not in first.acks.having)
                relay.heal()
                await eventually(lambda: "b" in first.acks.having)
                assert first.peers.unheard() == ()

    run(test)


def test_one_that_is_slow_is_believed_only_when_its_picture_is_whole() -> None:
    async def test() -> None:
        go = asyncio.Event()

        async def slow(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b'{"pod":"b","epoch":1}\n{"po')
            while not go.is_set():
                await response.write(b"")
                await asyncio.sleep(0.01)
            await response.write(b'd":"a","epoch":1}\n{"synced":true}\n')
            await asyncio.sleep(30)
            return response

        async with serving(slow) as (first, _):
            await asyncio.sleep(0.1)
            assert first.acks.having == {}
            assert first.peers.unsure()
            go.set()
            await eventually(lambda: first.acks.having.keys() == {"a", "b"})

    run(test)


@pytest.mark.parametrize("answer", [b"nonsense\n", b"x" * 5_000_000, b'{"pod":"a","like":"b"}\n'])
def test_one_that_talks_nonsense_is_not_believed_and_asked_again(answer: bytes) -> None:
    async def test() -> None:
        async def odd(request: web.Request) -> web.StreamResponse:
            return web.Response(body=b'{"pod":"z"}\n' + answer)

        async with serving(odd) as (first, asked):
            await eventually(lambda: len(asked) >= 3)
            assert first.acks.having == {}
            await eventually(lambda: first.peers.unheard() == ("odd",))

    run(test)


def test_a_refusal_is_a_failure() -> None:
    async def test() -> None:
        async def refuse(request: web.Request) -> web.StreamResponse:
            return web.json_response({"error": "no"}, status=403)

        async with serving(refuse) as (first, asked):
            await eventually(lambda: first.peers.unheard() == ("odd",))
            assert asked[0] == "one"
            assert first.peers.failures >= 1

    run(test)


@asynccontextmanager
async def serving(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[tuple[Replica, list[str]]]:
    """A replica that follows something which answers as it likes; and who has asked that."""
    asked: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request.query["replica"])
        return await answer(request)

    application = web.Application()
    application.router.add_get("/acks", handle)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    first = Replica("one")
    first.seen["uid-odd"] = peer("odd", runner.addresses[0][1])
    running = asyncio.create_task(first.peers.run())
    try:
        yield first, asked
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await runner.cleanup()


def endpoint(pod: str, address: str, **conditions: Any) -> dict[str, Any]:
    reference = {"kind": "Pod", "name": pod, "namespace": "system", "uid": f"uid-{pod}"}
    return {"addresses": [address], "conditions": conditions, "targetRef": reference}


def slice_of(name: str, family: str, endpoints: list[dict[str, Any]], **other: Any) -> EndpointSlice:
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": other.get("namespace", "system"),
            "labels": {"kubernetes.io/service-name": other.get("service", "peers")},
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": [{"name": "health", "port": 8080}, {"name": other.get("port", "discovery"), "port": 15012}],
    }
    slice_ = read(body).found
    assert isinstance(slice_, EndpointSlice)
    return slice_


def test_the_others_are_found_in_the_operators_own_endpoints() -> None:
    four = [
        endpoint("one", "10.0.0.1"),
        endpoint("two", "10.0.0.2", ready=True, serving=True),
        endpoint("three", "10.0.0.3", ready=True, serving=False, terminating=True),
    ]
    six = [endpoint("two", "fd00::2"), endpoint("four", "fd00::4", ready=False)]
    slices = [
        slice_of("peers-6", "IPv6", six),
        slice_of("peers-4", "IPv4", four),
        slice_of("other-service", "IPv4", [endpoint("x", "10.0.0.9")], service="other"),
        slice_of("other-namespace", "IPv4", [endpoint("y", "10.0.0.9")], namespace="elsewhere"),
        slice_of("other-port", "IPv4", [endpoint("z", "10.0.0.9")], port="odd"),
    ]
    expected = {
        "uid-two": Peer(uid="uid-two", name="two", address="10.0.0.2", port=15012),
        "uid-three": Peer(
            uid="uid-three", name="three", address="10.0.0.3", port=15012, serving=False, terminating=True
        ),
        "uid-four": Peer(uid="uid-four", name="four", address="fd00::4", port=15012, serving=False),
    }
    assert found(slices, "system", "peers", "one") == expected
