"""Pools over real sockets: dialling, failing, reusing the latest first, retiring, nothing left over."""

from __future__ import annotations

import asyncio
import socket

import pytest

from sidewinder_sidecar.http1.encode import Unsendable
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
from sidewinder_sidecar.upstream.endpoint import Endpoint
from sidewinder_sidecar.wheel import Wheel
from tests.support.http1 import LIMITS, Receiver, Up, request
from tests.support.sockets import run, serving, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
WHOLE = ["response 200", "data", "end"]


def endpoint(port: int, address: str = "127.0.0.1", limits: Limits = LIMITS, timeout: float = 5.0) -> Endpoint:
    spec = EndpointSpec(uid="one", address=address, port=port, weight=3, zone="z", ready=False)
    return Endpoint(spec, limits, Wheel.of(asyncio.get_running_loop()), timeout)


async def polite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(OK)


def test_a_connection_is_made_and_used_again() -> None:
    async def main() -> None:
        async with serving(polite) as port:
            one = endpoint(port)
            assert (one.weight, one.zone, one.ready, one.address) == (3, "z", False, ("127.0.0.1", port))
            for count in range(3):
                receiver = Receiver()
                one.open(request(), receiver)
                assert not receiver.told
                assert one.active == 1
                await until(lambda heard=receiver: heard.over)
                assert receiver.told == WHOLE
                assert one.active == 0
                assert [line.used for line in one.idle] == [count + 1]
            assert repr(one) == f"<Endpoint 127.0.0.1:{port} not ready 0 active 1 idle>"
            one.retire()
            assert not one.idle
            assert not one.dials
            await until(lambda: len(one.wheel) == 0)

    run(main)


def test_the_most_recently_used_comes_first_and_the_dead_never() -> None:
    up = Up()
    first, oldest = up.transport, up.connection
    second, newest = up.pooled()
    up.open()
    assert second.sent
    assert not first.sent
    newest.data_received(OK)
    assert up.endpoint.idle == [oldest, newest]
    second.lose()
    assert up.endpoint.idle == [oldest]
    up.pooled()[0].closing = True
    up.endpoint.idle[-1].abort()
    up.open()
    assert first.sent


def test_a_retired_endpoint_finishes_and_never_pools() -> None:
    up = Up()
    _, receiver = up.open()
    up.endpoint.retire()
    up.hear(OK)
    assert receiver.told == WHOLE
    assert up.transport.closing
    assert not up.endpoint.idle


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


FAILURES = {
    "refused": ("127.0.0.1", "connect_refused"),
    "no such name": ("no-such-host.invalid", "dns_error"),
    "no way": ("255.255.255.255", "connect_failed"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_connections_that_fail_say_why(case: str) -> None:
    address, error = FAILURES[case]

    async def main() -> None:
        one = endpoint(free_port(), address)
        receiver = Receiver()
        attempt = one.open(request(), receiver)
        await until(lambda: receiver.over, 15)
        assert receiver.told == [f"failure connect {error}"]
        assert receiver.failure is not None
        assert receiver.failure.detail
        assert one.active == 0
        assert not one.dials
        attempt.cancel("late")
        assert one.active == 0
        assert len(one.wheel) == 0

    run(main, 30)


def full() -> socket.socket:
    """A listener whose queue is full: connecting to it hangs."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(0)
    return sock


def test_connecting_has_a_time_limit_and_can_be_cancelled() -> None:
    async def main() -> None:
        sock = full()
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
            fillers.append(filler)
        one = endpoint(sock.getsockname()[1], timeout=0.1)
        receiver, other = Receiver(), Receiver()
        one.open(request(), receiver)
        cancelled = one.open(request(), other)
        cancelled.cancel("enough")
        assert one.active == 1
        await until(lambda: receiver.over)
        assert receiver.told == ["failure connect connect_timeout"]
        await until(lambda: not one.dials)
        assert not other.told
        assert one.active == 0
        assert len(one.wheel) == 0
        for each in (sock, *fillers):
            each.close()

    run(main)


def test_a_body_that_came_while_connecting() -> None:
    async def main() -> None:
        async def reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(10)
            assert head.endswith(b"Content-Length: 10\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + body)
            await reader.read()

        async with serving(reads) as port:
            one = endpoint(port)
            receiver = Receiver()
            attempt = one.open(request(b"PUT", 10), receiver)
            assert not attempt.send_data(b"01234")
            await until(lambda: receiver.writable)
            assert attempt.send_data(b"56789")
            attempt.send_end()
            await until(lambda: receiver.over)
            assert receiver.body == b"0123456789"
            one.retire()

    run(main)


def test_a_head_does_not_wait_for_its_body() -> None:
    async def main() -> None:
        async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await reader.read()

        async with serving(answers) as port:
            one = endpoint(port)
            receiver = Receiver()
            attempt = one.open(request(b"PUT", 10), receiver)
            assert not attempt.send_data(b"")
            await until(lambda: receiver.over)
            assert receiver.told == WHOLE
            one.retire()

    run(main)


def test_a_request_that_a_filter_broke_is_not_sent() -> None:
    up = Up()
    asked = request()
    asked.fields.set(b"x", b"X", b"a\r\nY: b")
    with pytest.raises(Unsendable):
        up.endpoint.open(asked, Receiver())
    assert up.endpoint.active == 0
    assert up.endpoint.idle == [up.connection]


def test_an_update_changes_what_may_change() -> None:
    up = Up()
    up.endpoint.update(EndpointSpec(uid="one", address="192.0.2.1", port=80, weight=7, zone="b", ready=False))
    assert (up.endpoint.weight, up.endpoint.zone, up.endpoint.ready) == (7, "b", False)
