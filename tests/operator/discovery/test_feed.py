"""One replica asks another over a real socket: who may, what comes first, what comes later, and who is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

from sidewinder_operator.discovery import feed as module
from sidewinder_operator.discovery.acks import Acks, Having
from sidewinder_operator.discovery.feed import Feed
from sidewinder_operator.discovery.report import Reading
from sidewinder_operator.discovery.store import Store
from tests.support.clock import eventually


class Site:
    """A replica's feed behind a port."""

    def __init__(self, allowed: bool, options: dict[str, Any]) -> None:
        self.acks = Acks(Store())
        self.feed = Feed(self.acks, lambda request: allowed, **options)
        self.url = ""

    def get(self, session: aiohttp.ClientSession, replica: str = "b") -> Any:
        return session.get(self.url, params={"replica": replica})


@asynccontextmanager
async def serving(allowed: bool = True, **options: Any) -> AsyncIterator[tuple[Site, aiohttp.ClientSession]]:
    site = Site(allowed, {"gather_seconds": 0.01, **options})
    application = web.Application()
    site.feed.route(application)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}/acks"
    async with aiohttp.ClientSession() as session:
        try:
            yield site, session
        finally:
            await runner.cleanup()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(test(), 20)

    uvloop.run(main())


async def read(response: aiohttp.ClientResponse, reading: Reading, holds: Callable[[], bool]) -> None:
    while not holds():
        line = await response.content.readline()
        assert line, "the stream has ended"
        reading.read(line)


def test_what_is_known_comes_first_and_then_what_changes() -> None:
    async def test() -> None:
        async with serving() as (site, session):
            site.acks.tell("a", Having(epoch=1, versions={"route/a": "1"}))
            site.acks.hear("third", {"x": Having(epoch=1)})
            async with site.get(session) as response:
                reading = Reading()
                await read(response, reading, lambda: reading.synced)
                assert reading.pods == {"a": Having(epoch=1, versions={"route/a": "1"})}, "and nothing of others"
                site.acks.tell("a", Having(epoch=1, versions={"route/a": "2"}))
                site.acks.tell("b", Having(epoch=4))
                await read(response, reading, lambda: "b" in reading.pods)
                assert reading.pods["a"].versions == {"route/a": "2"}
                site.acks.gone("a", 1)
                await read(response, reading, lambda: "a" not in reading.pods)

    run(test)


def test_a_flock_of_changes_is_told_once() -> None:
    async def test() -> None:
        async with serving(gather_seconds=0.1) as (site, session), site.get(session) as response:
            reading = Reading()
            await read(response, reading, lambda: reading.synced)
            for epoch in range(50):
                site.acks.tell("a", Having(epoch=epoch))
                await asyncio.sleep(0)
            line = await response.content.readline()
            assert reading.read(line) == ("a", Having(epoch=49))

    run(test)


def test_many_proxies_come_in_pieces_and_none_is_lost() -> None:
    async def test() -> None:
        async with serving() as (site, session):
            for number in range(3000):
                site.acks.tell(f"pod-{number}", Having(epoch=number, versions={"proxy/self": str(number)}))
            async with site.get(session) as response:
                reading = Reading()
                await read(response, reading, lambda: reading.synced)
                assert len(reading.pods) == 3000

    run(test)


def test_a_stranger_hears_nothing() -> None:
    async def test() -> None:
        async with serving(allowed=False) as (site, session), site.get(session) as response:
            assert response.status == 403
            assert "operator" in (await response.json())["error"]

    run(test)


def test_silence_is_filled_with_pings() -> None:
    async def test() -> None:
        async with serving(ping_seconds=0.02) as (site, session), site.get(session) as response:
            assert await response.content.readline() == b'{"synced":true}\n'
            assert await response.content.readline() == b'{"ping":1}\n'
            assert await response.content.readline() == b'{"ping":2}\n'
            assert site.acks.having == {}

    run(test)


def test_a_newer_stream_of_a_replica_ends_the_older_one() -> None:
    async def test() -> None:
        async with serving() as (site, session), site.get(session) as older:
            await older.content.readline()
            async with site.get(session) as newer:
                await newer.content.readline()
                assert await older.content.read() == b""
                assert len(site.feed.streams) == 1
                site.acks.tell("a", Having())
                assert await newer.content.readline() == b'{"pod":"a"}\n'

    run(test)


def test_who_leaves_is_forgotten() -> None:
    async def test() -> None:
        async with serving(ping_seconds=0.05) as (site, session):
            async with site.get(session) as response:
                await response.content.readline()
            await eventually(lambda: not site.feed.streams)

    run(test)


def test_who_does_not_read_is_dropped() -> None:
    async def test() -> None:
        async with serving(drain_seconds=0.2) as (site, session), site.get(session) as response:
            await response.content.readline()
            assert response.connection is not None
            assert response.connection.transport is not None
            response.connection.transport.pause_reading()  # type: ignore[attr-defined]
            big = {f"route/{number}": "v" * 16 for number in range(20_000)}
            for number in range(60):
                site.acks.tell(f"pod-{number}", Having(versions={**big, f"proxy/{number}": "x" * 200_000}))
            await eventually(lambda: not site.feed.streams, 15)

    run(test)


def test_the_number_of_streams_is_bounded() -> None:
    async def test() -> None:
        async with serving() as (site, session):
            for number in range(module.MOST):
                response = await site.get(session, f"replica-{number}")
                await response.content.readline()
            async with site.get(session, "one too many") as response:
                assert response.status == 503
            async with site.get(session, "replica-3") as response:
                assert response.status == 200, "one that is known takes its own place"

    run(test)


def test_a_stream_ends_with_the_certificate_that_opened_it() -> None:
    async def test() -> None:
        async with serving(lasting=lambda request: 0.1, ping_seconds=0.02) as (site, session):
            async with site.get(session) as response:
                assert b'"ping":3' in await response.content.read()
            assert not site.feed.streams

    run(test)
