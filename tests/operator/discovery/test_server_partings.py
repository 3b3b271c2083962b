"""Streams that part: spread anew, let go, the word of a pod that leaves, and a client's last."""

from __future__ import annotations

import asyncio

import pytest

from sidewinder_operator.compile.project import Encoded
from sidewinder_operator.discovery import server
from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot import encode, stream
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.upstreams import EndpointsSpec
from tests.support.streams import HEAD, Wire, encoded, run, serving


def test_closing_says_goodbye_and_takes_nobody_new() -> None:
    async def test() -> None:
        async with serving() as site:
            wire = await Wire.open(site.path("a"))
            site.discovery.close("shutdown")
            message = await wire.hear()
            assert isinstance(message, stream.Goodbye)
            assert message.goodbye == "shutdown"
            assert await wire.hear() is None
            reader, writer = await asyncio.open_unix_connection(str(site.path("b")))
            writer.write(HEAD)
            assert b" 503 " in await reader.readline()
            writer.transport.abort()
            wire.close()

    run(test)


def test_streams_are_spread_anew_and_the_client_leaves_when_it_has_another() -> None:
    async def test() -> None:
        async with serving(rebalance_seconds=0.1) as site:
            site.store.publish({"a": {"route/a": encoded("route/a", 1)}})
            first = await Wire.open(site.path("a"))
            await first.apply()
            assert (await first.until(stream.Goodbye)).goodbye == "rebalance"
            site.store.publish({"a": {"route/a": encoded("route/a", 2)}})
            await first.apply()
            await site.until(lambda: site.acks.current("a"))
            first.close()
            await site.until(lambda: not site.discovery.clients)
            assert site.acks.current("a"), "it is on its way back: what it has is known for a moment"
            second = await Wire.open(site.path("a"), epoch=2, has=first.has)
            await second.apply()
            await asyncio.sleep(0.05)
            assert site.acks.having["a"].epoch == 2
            second.close()

    run(test)


def test_who_does_not_come_back_after_that_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "RETURN_SECONDS", 0.1)

    async def test() -> None:
        async with serving(rebalance_seconds=0.05) as site:
            site.store.publish({"a": {"route/a": encoded("route/a", 1)}})
            wire = await Wire.open(site.path("a"))
            await wire.apply()
            await wire.until(stream.Goodbye)
            wire.close()
            await site.until(lambda: not site.discovery.clients)
            await site.until(lambda: not site.acks.current("a"))

    run(test)


def test_who_stays_although_it_was_told_to_go_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PARTING_SECONDS", 0.1)

    async def test() -> None:
        async with serving(rebalance_seconds=0.05) as site:
            wire = await Wire.open(site.path("a"))
            await wire.until(stream.Goodbye)
            assert await wire.hear() is None
            wire.close()

    run(test)


def leaving(pod: str, terminating: bool, ready: tuple[str, ...]) -> dict[str, Encoded]:
    """A pod's own resource, and who answers."""
    proxy = encode(ProxySpec(name=pod, namespace="shop", terminating=terminating))
    names = encode(EndpointsSpec(name=",".join(ready)))
    return {
        "proxy/self": Encoded("proxy/self", snapshot.version(proxy), proxy, None, ()),
        "endpoints/e": Encoded("endpoints/e", snapshot.version(names), names, None, (), frozenset(ready)),
    }


def test_what_is_sent_is_left_open_until_it_is_answered_and_after_the_stream_too() -> None:
    async def test() -> None:
        async with serving() as site:
            site.store.publish({"a": {"route/a": encoded("route/a", 1)}})
            wire = await Wire.open(site.path("a"), has={"route/a": "of before"})
            await wire.until(stream.Begin)
            wanted = site.store.pictures["a"].versions
            assert site.acks.maybe["a"].versions == ({"route/a": "of before"}, wanted), "it may hold either"
            wire.close()
            await site.until(lambda: not site.discovery.clients)
            assert wanted in site.acks.maybe["a"].versions
            wire = await Wire.open(site.path("a"), epoch=2)
            await wire.apply()
            await site.until(lambda: site.acks.current("a"))
            assert not site.acks.maybe
            wire.close()

    run(test)


def test_a_leaving_pod_is_told_when_the_last_who_knew_it_knows_better() -> None:
    async def test() -> None:
        async with serving() as site:
            site.store.publish({pod: leaving(pod, False, ("a", "b")) for pod in "ab"})
            a, b = await Wire.open(site.path("a")), await Wire.open(site.path("b"))
            await a.apply()
            await b.apply()
            site.store.publish({pod: leaving(pod, pod == "b", ("a",)) for pod in "ab"})
            await b.apply()
            b.say(stream.Ping(7))
            assert await b.hear() == stream.Pong(7)
            await asyncio.sleep(0.2)
            b.say(stream.Ping(8))
            assert await b.hear() == stream.Pong(8), "a has not acknowledged yet"
            await a.apply()
            assert await b.hear() == stream.Retired(2)
            b.close()
            again = await Wire.open(site.path("b"), epoch=2, has=b.has)
            await again.apply()
            assert await again.until(stream.Retired) == stream.Retired(1), "told on each stream"
            a.close()
            again.close()

    run(test)


def test_a_clients_last_word_is_handed_on() -> None:
    async def test() -> None:
        told: list[tuple[str, stream.Drained]] = []
        async with serving(drained=lambda *words: told.append(words)) as site:
            site.store.publish({"a": {"route/a": encoded("route/a", 1)}})
            wire = await Wire.open(site.path("a"))
            await wire.apply()
            word = stream.Drained(drained=0.5, leaving=2.0, requests=3)
            wire.say(word)
            await site.until(lambda: bool(told))
            assert told == [("a", word)]
            wire.close()

    run(test)
