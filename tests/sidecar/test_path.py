"""The whole way with the real exchange, over real sockets: caller, proxy, upstream. What only shows when all meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sidewinder_sidecar.downstream.listener import Listener
from sidewinder_sidecar.exchange import Proxy
from sidewinder_sidecar.fleet import Fleet
from sidewinder_sidecar.messages import Call
from sidewinder_sidecar.plan import build
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot import KINDS
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.routes import RetrySpec
from sidewinder_sidecar.snapshot.upstreams import BackendSpec, EndpointSpec, EndpointsSpec
from sidewinder_sidecar.upstream.endpoint import Endpoint
from sidewinder_sidecar.wheel import Wheel
from tests.support.memory import listener, rule, shop
from tests.support.sockets import run, serving, until

LIMITS = Limits(linger_seconds=0.3)
GET = b"GET /a HTTP/1.1\r\nHost: reviews:9080\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Handle = Callable[..., Coroutine[Any, Any, None]]


class World:
    def __init__(self, ports: list[int], **options: Any) -> None:
        wheel = Wheel.of(asyncio.get_running_loop())
        self.records: list[Call] = []
        self.endpoints: list[Endpoint] = []
        self.proxy = Proxy(Fleet(wheel, self._make), wheel, self.records.append, LIMITS)
        self.listener = Listener(self.proxy, "out", "127.0.0.1", 0)
        places = tuple(EndpointSpec(uid=str(port), address="127.0.0.1", port=port) for port in ports)
        pair = BackendSpec(name="v1", endpoints="v1", service="v1"), EndpointsSpec(name="v1", endpoints=places)
        resources = [*shop(rule("v1", **options), backends=(pair,))]
        resources = [one for one in resources if type(one) is not type(listener())]
        resources.append(listener(pass_through=True, forward_proxy=True))
        snapshot = {f"{KINDS[type(body)]}/{getattr(body, 'name', 'self')}": body for body in resources}
        snapshot["proxy/self"] = ProxySpec(name="test", namespace="shop", trace_percent=0.0)
        steps = build(snapshot, self.proxy.fleet, self.proxy.plan)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                self.proxy.adopt(done.value)
                return

    def _make(self, spec: EndpointSpec, connect_timeout: float) -> Endpoint:
        self.endpoints.append(Endpoint(spec, LIMITS, self.proxy.wheel, connect_timeout))
        return self.endpoints[-1]

    async def ask(self, data: bytes, until_end: bool = True) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        writer.write(data)
        if until_end:
            writer.write_eof()
        try:
            return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def world(handle: Handle, count: int = 1, **options: Any) -> AsyncIterator[World]:
    async with serving(handle) as port:
        made = World([port] * count, **options)
        await made.listener.open()
        yield made
        made.listener.close()
        await until(lambda: not made.listener.connections and not made.proxy.running)
        assert made.proxy.bugs == 0
        assert all(endpoint.active == 0 for endpoint in made.endpoints)
        for endpoint in made.endpoints:
            endpoint.retire()


async def polite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while head := await reader.readuntil(b"\r\n\r\n"):
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
        body = await reader.readexactly(length)
        text = head + body
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)


def test_pipelined_requests_of_every_kind() -> None:
    async def main() -> None:
        async with world(polite) as made:
            post = b"POST /b HTTP/1.1\r\nHost: reviews:9080\r\nContent-Length: 5\r\n\r\nhello"
            absolute = b"GET http://reviews:9080/c HTTP/1.1\r\nHost: else\r\n\r\n"
            answer = await made.ask(GET + post + absolute + GET.replace(b"/a", b"/d"))
            found = [answer.find(b"%b HTTP/1.1\r\n" % line) for line in (b"GET /a", b"POST /b", b"GET /c", b"GET /d")]
            assert found == sorted(found)
            assert found[0] > 0
            assert b"\r\nHost: reviews:9080\r\n" in answer[found[2] :]
            assert b"else" not in answer
            assert [record.status for record in made.records] == [200] * 4
            assert len(made.endpoints[0].idle) == 1

    run(main)


def test_the_proxy_s_own_answers_carry_their_reason() -> None:
    async def main() -> None:
        async with world(polite) as made:
            answer = await made.ask(b"GET / HTTP/1.1\r\nHost: reviews:9080\r\nHost: b\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b"more than one host field" in answer
            assert made.records[-1].error == "bad_request"
            answer = await made.ask(
                b"POST / HTTP/1.1\r\nHost: reviews:9080\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX",
                until_end=False,
            )
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b"a chunk is longer than its size" in answer
            assert made.records[-1].error == "bad_request"

    run(main)


def test_a_stale_connection_is_told_by_nobody() -> None:
    """The upstream closes each connection after its first answer, without saying so beforehand."""

    async def main() -> None:
        served = 0

        async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal served
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            served += 1
            await reader.read(1)  # the next request has come: close without an answer

        async with world(rude, retry=RetrySpec(attempts=1)) as made:
            for _ in range(4):
                answer = await made.ask(GET)
                assert answer.startswith(b"HTTP/1.1 200 "), answer
            assert served == 4

    run(main)


def test_expect_100_continue_end_to_end() -> None:
    async def main() -> None:
        async def asks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"Expect: 100-continue" in head
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await reader.readexactly(5)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)
            await reader.read()

        async with world(asks) as made:
            reader, writer = await asyncio.open_connection("127.0.0.1", made.listener.port)
            writer.write(
                b"PUT / HTTP/1.1\r\nHost: reviews:9080\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
                b"Connection: close\r\n\r\n"
            )
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"hello")
            assert (await reader.read()).endswith(b"\r\n\r\nhello")
            writer.close()

    run(main)


def test_a_head_without_a_body_yet_is_not_held_back() -> None:
    async def main() -> None:
        async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            await reader.readuntil(b"!")
            writer.write(b"5\r\nevent\r\n0\r\n\r\n")
            await reader.read()

        async with world(slowly) as made:
            reader, writer = await asyncio.open_connection("127.0.0.1", made.listener.port)
            writer.write(b"POST / HTTP/1.1\r\nHost: reviews:9080\r\nContent-Length: 1\r\n\r\n")
            assert b"chunked" in await reader.readuntil(b"\r\n\r\n")
            writer.write(b"!")
            assert await reader.readuntil(b"0\r\n\r\n") == b"5\r\nevent\r\n0\r\n\r\n"
            writer.close()

    run(main)


@pytest.mark.parametrize("kind", ["CONNECT", "websocket"])
@pytest.mark.parametrize("first", ["caller", "upstream"])
def test_tunnels_pass_bytes_and_ends(kind: str, first: str) -> None:
    async def main() -> None:
        async def speaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if kind == "websocket":
                assert b"Upgrade: websocket" in await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            if first == "upstream":
                writer.write(b"bye")
                writer.write_eof()
            said = await reader.read()
            if first == "caller":
                writer.write(said.upper())

        async with world(speaks) as made:
            port = made.endpoints[0].address[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", made.listener.port)
            target = b"127.0.0.1:%d" % port
            writer.write(
                b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, target)
                if kind == "CONNECT"
                else b"GET / HTTP/1.1\r\nHost: reviews:9080\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            )
            writer.write(b"early ")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.split()[1] == (b"200" if kind == "CONNECT" else b"101")
            if first == "upstream":
                assert await reader.read() == b"bye"
            writer.write(b"late")
            writer.write_eof()
            if first == "caller":
                assert await reader.read() == b"EARLY LATE"
            writer.close()
            await until(lambda: made.records)
            assert not made.records[-1].error

    run(main)


def test_a_caller_that_leaves_ends_its_upstream_s_work() -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def works(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            try:
                await reader.read()
            finally:
                ended.set()

        async with world(works) as made:
            _, writer = await asyncio.open_connection("127.0.0.1", made.listener.port)
            writer.write(GET)
            await until(lambda: made.proxy.running)
            writer.close()
            await asyncio.wait_for(ended.wait(), 5)
            await until(lambda: made.records)
            assert made.records[-1].error == "caller_gone"

    run(main)
