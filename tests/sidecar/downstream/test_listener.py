"""Listeners over real sockets, with a minimal exchange between caller and upstream: what only a kernel can show."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sidewinder_sidecar.downstream import http1, tcp
from sidewinder_sidecar.downstream.listener import Listener
from sidewinder_sidecar.messages import Failure, Peer, Response
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
from sidewinder_sidecar.upstream.endpoint import Endpoint
from sidewinder_sidecar.wheel import Wheel
from tests.support import memory
from tests.support.authority import trust
from tests.support.http1 import Echo, Exchange, Proxy
from tests.support.identities import identity, named
from tests.support.redirected import Redirected
from tests.support.sockets import raw, run, serving, until
from tests.support.two_proxies import keys

LIMITS = Limits(linger_seconds=0.3)
RESET = struct.pack("ii", 1, 0)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Relay(Exchange):
    """Caller to upstream and back, and nothing else."""

    attempt: Any = None

    def on_begun(self) -> None:
        self.attempt = self.proxy.endpoint.open(self.request, self)

    def on_request_data(self, data: bytes) -> None:
        if self.attempt is not None and not self.attempt.send_data(data):
            self.caller.pause()

    def on_request_end(self, trailers: Any) -> None:
        if self.attempt is not None:
            self.attempt.send_end(trailers)

    def on_caller_writable(self) -> None:
        if self.attempt is not None:
            self.attempt.resume()

    def on_caller_gone(self, error: str) -> None:
        super().on_caller_gone(error)
        if self.attempt is not None:
            self.attempt.cancel(error)

    def on_writable(self) -> None:
        self.caller.resume()

    def on_informational(self, response: Response) -> None:
        self.caller.send_informational(response)

    def on_response(self, response: Response, body: bytes | None) -> None:
        self.caller.send_head(response, body)

    def on_data(self, data: bytes) -> None:
        if not self.caller.send_data(data):
            self.attempt.pause()

    def on_end(self, trailers: Any) -> None:
        self.caller.send_end(trailers)

    def on_tunnel(self, response: Response) -> None:
        self.caller.open_tunnel(response)

    def on_failure(self, failure: Failure) -> None:
        self.gone = failure.error
        self.caller.reset(failure.error)


@asynccontextmanager
async def listening(exchange: Any = Echo, limits: Limits = LIMITS, upstream: int = 0) -> AsyncIterator[Listener]:
    proxy = Proxy(limits, Wheel.of(asyncio.get_running_loop()))
    spec = EndpointSpec(uid="one", address="127.0.0.1", port=upstream)
    proxy.endpoint = Endpoint(spec, limits, proxy.wheel, 5.0)
    listener = Listener(proxy, "test", "127.0.0.1", 0, exchange)
    await listener.open()
    yield listener
    listener.close()
    proxy.endpoint.retire()
    await until(lambda: not listener.connections)
    assert proxy.endpoint.active == 0
    await until(lambda: len(proxy.wheel) == 0)


async def ask(port: int, data: bytes) -> bytes:
    """Everything until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        return await reader.read()
    finally:
        writer.close()


def test_a_port_of_zero_is_told_and_a_taken_one_refused_by_name() -> None:
    async def main() -> None:
        async with listening() as listener:
            assert listener.port
            answer = await ask(listener.port, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert answer.startswith(b"HTTP/1.1 200 OK")
            twin = Listener(listener.proxy, "twin", "127.0.0.1", listener.port, Echo)
            with pytest.raises(OSError, match=f"listener twin: 127.0.0.1:{listener.port}: Address already in use"):
                await twin.open()
            assert (
                repr(listener)
                == f"<Listener test 127.0.0.1:{listener.port} open {len(listener.connections)} connections>"
            )

    run(main)


def test_ipv6_and_dual_stack() -> None:
    async def main() -> None:
        async with listening() as first:
            for address, family, host in (("::1", socket.AF_INET6, "::1"), ("::", socket.AF_INET, "127.0.0.1")):
                listener = Listener(first.proxy, "six", address, 0, Echo)
                await listener.open()
                reader, writer = await asyncio.open_connection(host, listener.port, family=family)
                writer.write(GET)
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
                writer.close()
                listener.close()
                await until(lambda closed=listener: not closed.connections)

    run(main)


def test_draining_accepts_no_more_and_finishes_what_runs() -> None:
    async def main() -> None:
        async with listening(Exchange) as listener:
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            idle, idle_writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(GET)
            await until(lambda: listener.proxy.exchanges and len(listener.connections) == 2)
            listener.drain()
            assert await idle.read() == b""
            idle_writer.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", listener.port)
            listener.proxy.exchanges[0].answer(200, b"done")
            answer = await reader.read()
            assert b"Connection: close" in answer
            assert answer.endswith(b"done")
            writer.close()

    run(main)


def test_connections_over_the_limit_hear_why() -> None:
    async def main() -> None:
        async with listening(limits=Limits(connections=1, linger_seconds=0.3)) as listener:
            _, first = await asyncio.open_connection("127.0.0.1", listener.port)
            await until(lambda: listener.connections)
            answer = await ask(listener.port, GET)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"the proxy has 1 connections already" in answer
            first.close()

    run(main)


def test_a_caller_in_the_middle_of_an_upload_can_read_the_refusal() -> None:
    async def main() -> None:
        async with listening(Exchange) as listener:
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 500000)
            await until(lambda: listener.proxy.exchanges)
            listener.proxy.exchanges[0].answer(413, b"too much")
            writer.write(b"x" * 500000)
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 413 ")
            assert answer.endswith(b"too much")
            writer.close()

    run(main)


async def big(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        for _ in range(50):
            writer.write(b"x" * 1000000)
            await writer.drain()


def test_a_caller_that_does_not_read_stops_the_upstream() -> None:
    async def main() -> None:
        written = 0

        async def counts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal written
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
            for _ in range(2000):
                writer.write(b"x" * 100000)
                await writer.drain()
                written += 100000

        async with serving(counts) as port, listening(Relay, upstream=port) as listener:
            peer = raw(listener.port)
            peer.sendall(GET)
            await until(lambda: listener.connections and not next(iter(listener.connections)).room)
            stalled = -1
            while stalled != written:  # the kernel's buffers on the way fill first
                stalled = written
                await asyncio.sleep(0.1)
            assert written < 60_000_000
            connection = next(iter(listener.connections))
            assert connection.transport.get_write_buffer_size() < 65536 + 262144 + 1024
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.close()
            await until(lambda: listener.proxy.exchanges[0].gone == "caller_gone")

    run(main, 40)


def test_an_upstream_that_does_not_read_stops_the_caller() -> None:
    async def main() -> None:
        async def sulks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(30)

        async with serving(sulks) as port, listening(Relay, upstream=port) as listener:
            peer = raw(listener.port)
            peer.setblocking(False)
            peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000000\r\n\r\n")
            sent, quiet = 0, 0
            while quiet < 20:
                try:
                    sent += peer.send(b"x" * 1000000)
                    quiet = 0
                except BlockingIOError:
                    quiet += 1
                    await asyncio.sleep(0.01)
            assert sent < 60_000_000
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.close()
            listener.close()

    run(main, 40)


CUTS = {
    "in the head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "before the body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
    "in the body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel",
    "in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhel",
    "before the last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
}


@pytest.mark.parametrize("case", CUTS)
@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_a_cut_answer_is_a_reset_for_the_caller(case: str, reset: bool, version: bytes) -> None:
    async def main() -> None:
        async def cuts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(CUTS[case])
            if reset:
                await asyncio.sleep(0.02)  # else nothing of it would arrive
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                writer.transport.abort()

        async with serving(cuts) as port, listening(Relay, upstream=port) as listener:
            with pytest.raises(ConnectionResetError):
                await ask(listener.port, GET.replace(b"1.1", version))

    run(main)


@pytest.mark.parametrize("when", range(0, len(GET), 5))
def test_a_caller_that_resets_at_any_point(when: int) -> None:
    async def main() -> None:
        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel")
            await reader.read()

        async with serving(slow) as port, listening(Relay, upstream=port) as listener:
            peer = raw(listener.port)
            peer.sendall(GET[: len(GET) - when])
            await until(lambda: listener.connections)
            if not when:
                await until(lambda: listener.proxy.exchanges)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.close()
            await until(lambda: not listener.connections)
            assert all(exchange.gone for exchange in listener.proxy.exchanges)

    run(main)


def test_large_bodies_pass_both_ways_unchanged() -> None:
    body = bytes(range(256)) * 8000

    async def main() -> None:
        async def mirror(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while head := await reader.readuntil(b"\r\n\r\n"):
                assert b"chunked" in head
                found = b""
                while size := int(await reader.readline(), 16):
                    found += await reader.readexactly(size)
                    await reader.readexactly(2)
                await reader.readline()
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for at in range(0, len(found), 100000):
                    piece = found[at : at + 100000]
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    await writer.drain()
                writer.write(b"0\r\n\r\n")

        async with serving(mirror, limit=1 << 22) as port, listening(Relay, upstream=port) as listener:
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            for _ in range(2):
                writer.write(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                for at in range(0, len(body), 70000):
                    piece = body[at : at + 70000]
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                writer.write(b"0\r\n\r\n")
                await reader.readuntil(b"\r\n\r\n")
                found = b""
                while size := int(await reader.readline(), 16):
                    found += await reader.readexactly(size)
                    await reader.readexactly(2)
                await reader.readline()
                assert found == body
            writer.close()
            assert len(listener.proxy.endpoint.idle) == 1

    run(main)


def test_a_transparent_listener_finds_out_what_is_spoken() -> None:
    plain, transparent = (Redirected(memory.listener(transparent=one)) for one in (False, True))
    assert isinstance(plain.listener._accept(), http1.Connection)
    assert isinstance(transparent.listener._accept(), tcp.Connection)
    transparent.listener.name = "gone"
    assert isinstance(transparent.listener._accept(), http1.Connection)  # which says so


def inbound(**more: Any) -> memory.Scene:
    """A proxy in front of an application, in local mode: nothing is redirected to it."""
    spec = ListenerSpec(
        name="in", direction="Inbound", address="127.0.0.1", port=15006, default_service="shop/reviews:9080", **more
    )
    return memory.Scene(spec, memory.service(backend="v1"), *memory.backend("v1"))


def test_where_tls_is_ended_and_which_port_is_called(tmp_path: Any) -> None:
    scene = inbound()
    listener = Listener(scene.proxy, "in", "127.0.0.1", 15006)
    assert isinstance(listener.begin(), http1.Connection)  # without a certificate nobody speaks TLS here
    scene.proxy.keyring = keys(identity(tmp_path / "id", trust(), named("reviews")))
    assert isinstance(listener.begin(), tcp.Connection)
    peer = Peer("10.1.0.5", 4711)
    assert listener.called(peer) == 9080
    peer.destination = ("10.1.0.9", 8080)
    assert listener.called(peer) == 8080
    listener.met(peer)
    assert [row["port"] for row in scene.proxy.callers.told(0.0, 0.0)] == [8080]


def test_callers_of_the_pod_itself_are_not_told_and_their_tls_is_theirs(tmp_path: Any) -> None:
    scene = memory.Scene(*memory.shop())
    scene.proxy.keyring = keys(identity(tmp_path / "id", trust(), named("web")))
    listener = Listener(scene.proxy, "out", "127.0.0.1", 15001)
    assert isinstance(listener.begin(), http1.Connection)
    listener.met(Peer("127.0.0.1", 4711))
    assert scene.proxy.callers.told(0.0, 0.0) == []
    assert Listener(scene.proxy, "gone", "127.0.0.1", 1).called(Peer()) == 0
