"""The stream over real Unix sockets: who the client is, what it gets, and how streams end."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web

from sidewinder_operator.compile.project import Encoded
from sidewinder_operator.discovery.acks import Acks
from sidewinder_operator.discovery.server import Discovery
from sidewinder_operator.discovery.store import Store
from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot import stream

HEAD = b"POST /discovery HTTP/1.1\r\nhost: operator\r\ntransfer-encoding: chunked\r\n\r\n"


def encoded(name: str, value: object) -> Encoded:
    raw = json.dumps({"value": value}).encode()
    return Encoded(name, snapshot.version(raw), raw, None, ())


class Wire:
    """A hand-made client: one connection, chunks both ways."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.has: dict[str, str] = {}
        self._buffer = b""
        self._lines: list[bytes] = []

    @classmethod
    async def open(cls, path: Path, epoch: int = 1, has: dict[str, str] | None = None) -> Wire:
        wire = cls(*await asyncio.open_unix_connection(str(path)))
        wire.has = dict(has or {})
        wire.writer.write(HEAD)
        wire.say(stream.Greeting(stream.Hello(epoch=epoch, has=wire.has)))
        head = await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 200"), head
        return wire

    def say(self, message: stream.ToServer) -> None:
        self.raw(stream.encode(message))

    def raw(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    async def hear(self) -> Any:
        """The next message; None at the end of the stream."""
        while not self._lines:
            try:
                size = int(await asyncio.wait_for(self.reader.readuntil(b"\r\n"), 5), 16)
                self._buffer += (await self.reader.readexactly(size + 2))[:-2]
            except asyncio.IncompleteReadError:
                return None
            *self._lines, self._buffer = self._buffer.split(b"\n")
            if size == 0:
                return None
        return stream.to_client(self._lines.pop(0))

    async def apply(self) -> dict[str, str]:
        """Takes one transaction and acknowledges it."""
        while not isinstance(message := await self.hear(), stream.Commit):
            match message:
                case stream.Begin(_, state):
                    wanted = state
                case stream.Set(name, version):
                    self.has[name] = version
                case stream.Drop(name):
                    del self.has[name]
                case _:
                    raise AssertionError(f"unexpected {message}")
        self.say(stream.Ack(message.commit, wanted))
        return self.has

    def close(self) -> None:
        self.writer.transport.abort()


class Site:
    """A running server with one socket per workload."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.store = Store()
        self.acks = Acks(self.store)
        self.discovery = Discovery(self.store, self.acks, self.name, **options)

    def name(self, request: web.Request) -> str | None:
        assert request.transport is not None
        stem = Path(request.transport.get_extra_info("sockname")).stem
        return None if stem == "stranger" else stem

    def path(self, workload: str) -> Path:
        return self.folder / f"{workload}.sock"

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(500):
            if holds():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it never came to hold")


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Site]:
    with tempfile.TemporaryDirectory(prefix="sw-") as folder:  # a socket's path has at most 107 bytes
        site = Site(Path(folder), **options)
        runner = site.discovery.runner()
        await runner.setup()
        for workload in ("a", "b", "stranger"):
            await web.UnixSite(runner, str(site.path(workload))).start()
        try:
            yield site
        finally:
            site.discovery.close()
            await runner.cleanup()


def run(test: Callable[[], Awaitable[None]]) -> None:
    uvloop.run(asyncio.wait_for(test(), 20))


def test_a_client_gets_its_own_picture_and_its_ack_counts() -> None:
    async def test() -> None:
        async with serving() as site:
            site.store.publish({"a": {"route/a": encoded("route/a", 1)}, "b": {"route/b": encoded("route/b", 1)}})
            wire = await Wire.open(site.path("a"))
            assert [*await wire.apply()] == ["route/a"]
            await site.until(lambda: site.acks.current("a"))
            assert site.acks.behind() == ["b"]
            site.store.publish({"a": {"route/c": encoded("route/c", 2)}, "b": {}})
            assert [*await wire.apply()] == ["route/c"]
            await site.until(lambda: site.acks.current("a"))
            wire.close()
            await site.until(lambda: not site.discovery.clients)
            assert not site.acks.current("a"), "what a client has is not known once it is gone"

    run(test)


def test_a_stranger_is_refused() -> None:
    async def test() -> None:
        async with serving() as site:
            reader, writer = await asyncio.open_unix_connection(str(site.path("stranger")))
            writer.write(HEAD)
            assert b" 403 " in await reader.readline()
            writer.transport.abort()

    run(test)


def test_a_change_wakes_a_quiet_stream_and_equal_publishing_does_not() -> None:
    async def test() -> None:
        async with serving() as site:
            wire = await Wire.open(site.path("a"))
            site.store.publish({"a": {"route/a": encoded("route/a", 1)}})
            await wire.apply()
            site.store.publish({"a": {"route/a": encoded("route/a", 1)}})
            wire.say(stream.Ping(1))
            assert await wire.hear() == stream.Pong(1)
            wire.close()

    run(test)


def test_a_reconnect_with_the_same_state_is_an_empty_commit() -> None:
    async def test() -> None:
        async with serving() as site:
            site.store.publish({"a": {"route/a": encoded("route/a", 1)}})
            first = await Wire.open(site.path("a"))
            await first.apply()
            second = await Wire.open(site.path("a"), epoch=2, has=first.has)
            assert isinstance(await second.hear(), stream.Begin)
            assert isinstance(await second.hear(), stream.Commit)
            gone = await first.hear()
            assert isinstance(gone, stream.Goodbye)
            assert "replaced" in gone.goodbye
            first.close()
            second.close()

    run(test)


@pytest.mark.parametrize(
    ("line", "why"),
    [(b"nonsense\n", "not a JSON object"), (b'{"hallo":1}\n', "no known message"), (b'{"ack":9,"state":""}\n', "ack")],
    ids=["no JSON", "unknown", "out of place"],
)
def test_a_malformed_line_ends_the_stream_with_the_reason(line: bytes, why: str) -> None:
    async def test() -> None:
        async with serving() as site:
            wire = await Wire.open(site.path("a"))
            wire.raw(line)
            message = await wire.hear()
            assert isinstance(message, stream.Goodbye)
            assert why in message.goodbye
            assert await wire.hear() is None
            wire.close()

    run(test)


def test_a_line_without_end_is_bounded() -> None:
    async def test() -> None:
        async with serving() as site:
            wire = await Wire.open(site.path("a"))
            for _ in range(stream.LONGEST_LINE // 65536 + 1):
                wire.raw(b"x" * 65536)
                await wire.writer.drain()
            message = await wire.hear()
            assert isinstance(message, stream.Goodbye)
            assert "bytes" in message.goodbye
            wire.close()

    run(test)


def test_a_client_that_does_not_read_is_dropped() -> None:
    async def test() -> None:
        async with serving(drain_seconds=0.2) as site:
            wire = await Wire.open(site.path("a"))
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
            big = "x" * 1_000_000
            site.store.publish({"a": {f"route/{n}": encoded(f"route/{n}", big) for n in range(20)}})
            await site.until(lambda: not site.discovery.clients)
            wire.close()

    run(test)


def test_a_silent_client_is_dropped_after_three_missed_pings() -> None:
    async def test() -> None:
        async with serving(ping_seconds=0.05) as site:
            wire = await Wire.open(site.path("a"))
            assert [await wire.hear() for _ in range(3)] == [stream.Ping(1), stream.Ping(2), stream.Ping(3)]
            assert await wire.hear() is None
            wire.close()

    run(test)


def test_a_rejection_is_told_once_and_the_rest_gets_through() -> None:
    async def test() -> None:
        told: list[list[str]] = []
        async with serving(rejected=lambda workload, session: told.append([workload, *session.rejections])) as site:
            good, bad = encoded("route/good", 1), encoded("route/bad", 1)
            site.store.publish({"a": {good.name: good, bad.name: bad}})
            wire = await Wire.open(site.path("a"))
            while not isinstance(message := await wire.hear(), stream.Commit):
                pass
            wire.say(stream.Nack(nack=message.commit, state="", resource="route/bad", field="x", why="cannot"))
            await wire.apply()
            await site.until(lambda: bool(site.acks.having.get("a") and site.acks.having["a"].versions))
            assert [*site.acks.having["a"].versions] == ["route/good"]
            assert told == [["a", "route/bad"]]
            wire.close()

    run(test)


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
