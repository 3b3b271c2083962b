"""CONNECT: bytes both ways over a real socket, each side's end passed on."""

from __future__ import annotations

import asyncio
import socket

from sidewinder_sidecar.messages import Request
from tests.sidecar.upstream.test_endpoint import endpoint
from tests.support.http1 import Receiver, request
from tests.support.sockets import run, serving, until


def connect() -> Request:
    asked = request(b"CONNECT")
    asked.upgrade = b"connect"
    return asked


def test_a_tunnel_ends_each_way_by_itself() -> None:
    async def main() -> None:
        async def shouts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            said = await reader.read()
            writer.write(said.upper())

        async with serving(shouts) as port:
            one = endpoint(port)
            receiver = Receiver()
            attempt = one.open(connect(), receiver)
            attempt.send_data(b"early ")
            await until(lambda: receiver.told == ["tunnel"])
            assert attempt.send_data(b"late")
            attempt.pause()
            attempt.send_end()
            attempt.resume()
            await until(lambda: receiver.told[-1] == "end")
            assert receiver.body == b"EARLY LATE"
            await until(lambda: one.active == 0)
            assert not one.idle
            attempt.cancel("late")
            assert one.active == 0

    run(main)


def test_the_other_side_may_end_first() -> None:
    async def main() -> None:
        heard = []

        async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            writer.write_eof()
            heard.append(await reader.read())

        async with serving(greets) as port:
            one = endpoint(port)
            receiver = Receiver()
            attempt = one.open(connect(), receiver)
            await until(lambda: receiver.told == ["tunnel", "data", "end"])
            attempt.send_data(b"still")
            attempt.send_end()
            await until(lambda: heard)
            assert heard == [b"still"]
            assert one.active == 0

    run(main)


def test_a_tunnel_that_is_cancelled_or_reset() -> None:
    async def main() -> None:
        async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if await reader.read(1) == b"r":
                writer.transport.abort()
            await reader.read()

        async with serving(waits) as port:
            one = endpoint(port)
            for said in (b"r", b"c"):
                receiver = Receiver()
                attempt = one.open(connect(), receiver)
                await until(lambda heard=receiver: heard.told == ["tunnel"])
                attempt.send_data(said)
                if said == b"c":
                    attempt.cancel("enough")
                else:
                    await until(lambda heard=receiver: heard.told[-1] in ("failure answering incomplete", "end"))
                    attempt.cancel("enough")
                assert one.active == 0

    run(main)


def test_a_silent_peer_is_asked_whether_it_is_still_there() -> None:
    async def main() -> None:
        async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()

        async with serving(waits) as port:
            one = endpoint(port)
            receiver = Receiver()
            attempt = one.open(connect(), receiver)
            await until(lambda: receiver.told == ["tunnel"])
            sock = attempt.connection.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
            attempt.cancel("enough")

    run(main)
