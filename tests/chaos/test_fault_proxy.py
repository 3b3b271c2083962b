"""Each fault does to a connection what it says, and lifting it ends it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.chaos.fault_proxy import BLACK_HOLE, Fault, FaultProxy

ANSWER = b"0123456789"
AWHILE = 0.15  # in which an answer would have come many times over


class Way(FaultProxy):
    """With those who call through it."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.callers: list[Caller] = []

    async def caller(self) -> Caller:
        self.callers.append(Caller(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self.callers[-1]


@asynccontextmanager
async def way() -> AsyncIterator[Way]:
    """Through it, whoever sends anything is sent ANSWER."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(65536):
                writer.write(ANSWER)
        except ConnectionError:
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    made = Way(*server.sockets[0].getsockname()[:2])
    await made.open()
    try:
        yield made
    finally:
        for caller in made.callers:
            caller.writer.transport.abort()
        await made.close()
        server.close()
        await settle()


class Caller:
    """A connection through the way."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def hears(self, ask: bytes = b"?") -> bytes | str:
        """What comes of one question: bytes and "." where the connection ended, "reset", or "silence"."""
        self.writer.write(ask)
        found = b""
        try:
            while len(found) < len(ANSWER):
                data = await asyncio.wait_for(self.reader.read(65536), AWHILE)
                if not data:
                    return found + b"."
                found += data
        except ConnectionError:
            return found.decode() + "reset"
        except TimeoutError:
            return found.decode() + "silence"
        return found


def run(test: Callable[[Way], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with way() as proxy:
            await test(proxy)

    asyncio.run(asyncio.wait_for(whole(), 10))


async def settle() -> None:
    """What was told to the loop is done."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("fault", "heard"),
    [
        pytest.param(Fault(), ANSWER, id="none"),
        pytest.param(Fault(end_after=4), b"0123.", id="ended-in-the-middle"),
        pytest.param(Fault(end_after=0), b".", id="ended-at-once"),
        pytest.param(Fault(reset_after=0), "reset", id="reset-at-once"),
        pytest.param(Fault(lose_after=4), "0123silence", id="lost"),
        pytest.param(Fault(garbage=b"\x00\xff"), b"\x00\xff.", id="garbage"),
        pytest.param(BLACK_HOLE, "silence", id="black-hole"),
        pytest.param(Fault(deaf=True), "silence", id="deaf"),
    ],
)
def test_a_fault_of_a_new_connection(fault: Fault, heard: bytes | str) -> None:
    async def test(proxy: Way) -> None:
        proxy.set(fault)
        await settle()
        assert await (await proxy.caller()).hears() == heard
        proxy.heal()
        await settle()
        assert await (await proxy.caller()).hears() == ANSWER

    run(test)


def test_a_reset_at_any_byte() -> None:
    async def test(proxy: Way) -> None:
        for after in range(len(ANSWER)):
            proxy.set(Fault(reset_after=after))
            await settle()
            heard = await (await proxy.caller()).hears()
            assert str(heard).endswith("reset")  # what came before it may be forgotten with it
        assert proxy.taken == len(ANSWER)

    run(test)


def test_a_fault_counts_the_bytes_of_the_whole_connection() -> None:
    async def test(proxy: Way) -> None:
        caller = await proxy.caller()
        assert await caller.hears() == ANSWER
        proxy.set(Fault(end_after=15))
        await settle()
        assert await caller.hears() == b"01234."

    run(test)


def test_latency_and_rate() -> None:
    async def test(proxy: Way) -> None:
        caller = await proxy.caller()
        for fault in (Fault(delay=0.08), Fault(rate=100)):  # five bytes at a time, ten to a tenth of a second
            proxy.set(fault)
            await settle()
            began = time.monotonic()
            assert await caller.hears() == ANSWER
            assert 0.04 < time.monotonic() - began < 1

    run(test)


def test_what_a_black_hole_has_taken_is_gone() -> None:
    async def test(proxy: Way) -> None:
        caller = await proxy.caller()
        proxy.set(BLACK_HOLE)
        await settle()
        assert await caller.hears() == "silence"
        proxy.heal()
        await settle()
        assert await caller.hears() == ANSWER, "the next one arrives"

    run(test)


def test_who_is_not_read_from_is_read_later() -> None:
    async def test(proxy: Way) -> None:
        caller = await proxy.caller()
        proxy.set(Fault(deaf=True))
        await settle()
        await caller.hears()  # a read that was under way takes it
        assert await caller.hears() == "silence"
        proxy.heal()
        await settle()
        assert await caller.hears(b"") == ANSWER

    run(test)


def test_the_door() -> None:
    async def test(proxy: Way) -> None:
        caller = await proxy.caller()
        assert await caller.hears() == ANSWER
        proxy.refuse()
        await settle()
        assert str(await caller.hears()).endswith("reset")
        with pytest.raises(ConnectionRefusedError):
            await proxy.caller()
        await asyncio.to_thread(proxy.accept)
        assert await (await proxy.caller()).hears() == ANSWER

    run(test)


def test_half_open_connections_and_those_that_come_later() -> None:
    async def test(proxy: Way) -> None:
        old = await proxy.caller()
        assert await old.hears() == ANSWER
        proxy.strand()
        await settle()
        assert await old.hears() == "silence"
        assert await (await proxy.caller()).hears() == ANSWER

    run(test)


def test_a_way_between_sockets_on_disk(tmp_path: Path) -> None:
    async def test() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(ANSWER)
            writer.close()

        server = await asyncio.start_unix_server(serve, tmp_path / "there")
        proxy = FaultProxy(str(tmp_path / "there"), path=str(tmp_path / "here"))
        await proxy.open()
        reader, writer = await asyncio.open_unix_connection(proxy.path)
        writer.write(b"?")
        assert await reader.read() == ANSWER
        writer.close()
        proxy.refuse()
        await settle()
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):  # from Python 3.13 on the file goes, too
            await asyncio.open_unix_connection(proxy.path)
        await asyncio.to_thread(proxy.accept)
        reader, writer = await asyncio.open_unix_connection(proxy.path)
        writer.write(b"?")
        assert await reader.read() == ANSWER
        writer.close()
        await proxy.close()
        server.close()
        await settle()

    asyncio.run(asyncio.wait_for(test(), 10))
