"""Pools over real sockets: reusing the latest first, retiring, nothing left over. And a try: quiet once it is over."""

from __future__ import annotations

import asyncio
from math import inf

import pytest

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.http1.encode import Unsendable, request_head
from sidewinder_sidecar.messages import CONNECT
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
from sidewinder_sidecar.tls.keyring import Term
from sidewinder_sidecar.upstream.endpoint import MOST_LINES, Attempt, Endpoint
from sidewinder_sidecar.upstream.http1 import Connection
from sidewinder_sidecar.wheel import Wheel
from tests.support.http1 import LIMITS, Receiver, Up, request
from tests.support.sockets import run, serving, until
from tests.support.transport import FakeTransport

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


@pytest.mark.parametrize(
    ("method", "rests", "secure", "again"),
    [
        pytest.param(b"POST", 0.7, False, True, id="used just now"),
        pytest.param(b"POST", 0.8, False, False, id="it may be closing"),
        pytest.param(b"PATCH", 0.8, False, False, id="a change"),
        pytest.param(b"GET", 3.9, False, True, id="what may be sent twice"),
        pytest.param(b"POST", 3.9, True, True, id="over TLS"),
    ],
)
def test_what_cannot_be_sent_twice_meets_no_connection_that_may_be_closing(
    method: bytes, rests: float, secure: bool, again: bool
) -> None:
    async def main() -> None:
        up = Up()
        up.endpoint.secure = secure
        up.proxy.clock.advance(rests)
        up.open(request(method, 0))
        assert (not up.endpoint.dials, up.endpoint.idle == []) == (again, again)
        for dial in [*up.endpoint.dials]:
            dial.cancel()
            await asyncio.wait((dial.task,))

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


def resting(identity: str, lines: int = 0) -> tuple[Up, Connection, Connection]:
    """Two connections that have answered, the one used last behind the other."""
    up = Up()
    up.endpoint.identity = identity
    up.endpoint.secure = identity != ""
    up.endpoint.keyring.lines.update((number, Term(inf, 0)) for number in range(lines))
    _, older = up.pooled()
    receivers = [up.open()[1] for _ in range(2)]
    older.data_received(OK)
    up.hear(OK)
    assert [receiver.told for receiver in receivers] == [WHOLE, WHOLE]
    assert up.endpoint.idle == [older, up.connection]
    return up, older, up.connection


def test_to_another_proxy_the_connection_used_last_rests_for_a_minute() -> None:
    up, older, newest = resting("spiffe://a/b")
    up.proxy.clock.advance(8.1)
    assert up.endpoint.idle == [newest], "one is all that a seldom caller needs"
    assert older.transport.closing
    up.proxy.clock.advance(51.0)
    assert up.endpoint.idle == [newest]
    up.proxy.clock.advance(1.0)
    assert newest.transport.closing
    assert not up.endpoint.idle
    assert len(up.proxy.wheel) <= 2, "their lingering ends"


@pytest.mark.parametrize(
    ("identity", "lines"),
    [pytest.param("", 0, id="an application"), pytest.param("spiffe://a/b", MOST_LINES + 1, id="many are open")],
)
def test_other_connections_rest_no_longer_than_applications_allow(identity: str, lines: int) -> None:
    up, _, _ = resting(identity, lines=lines)
    up.proxy.clock.advance(8.1)
    assert not up.endpoint.idle


def test_one_that_has_brought_no_answer_does_not_rest_so_long() -> None:
    up = Up()
    up.endpoint.identity = "spiffe://a/b"
    up.endpoint.secure = True
    up.proxy.clock.advance(3.9)
    assert up.endpoint.idle == [up.connection]
    up.proxy.clock.advance(0.2)
    assert not up.endpoint.idle


def test_another_proxy_may_ask_for_less() -> None:
    up = Up()
    up.endpoint.identity = "spiffe://a/b"
    up.endpoint.secure = True
    up.open()
    up.hear(OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=10\r\n\r\n"))
    up.proxy.clock.advance(8.9)
    assert up.endpoint.idle == [up.connection]
    up.proxy.clock.advance(0.2)
    assert up.transport.closing


def test_a_retired_endpoint_finishes_and_never_pools() -> None:
    up = Up()
    _, receiver = up.open()
    up.endpoint.retire()
    up.hear(OK)
    assert receiver.told == WHOLE
    assert up.transport.closing
    assert not up.endpoint.idle


def test_a_connection_that_nobody_waits_for_is_kept_but_for_a_retired_endpoint() -> None:
    up = Up()
    for gone in (False, True):
        if gone:
            up.endpoint.retire()
        connection = Connection(up.endpoint, None)
        transport = FakeTransport(connection)
        connection.connection_made(transport)
        assert (connection in up.endpoint.idle, transport.closing) == (not gone, gone)


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


class Dial:
    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


def connecting(length: int | None = None) -> tuple[Up, Attempt, Receiver]:
    up = Up()
    up.endpoint.active = 1
    receiver = Receiver()
    asked = request(b"PUT", length)
    attempt = Attempt(up.endpoint, asked, receiver, request_head(asked))
    attempt.dial = Dial()
    return up, attempt, receiver


def test_what_never_left_is_there_to_be_taken_back() -> None:
    _, attempt, receiver = connecting()
    assert attempt.unsent() == ([], None)
    trailers = fields((b"X-T", b"1"))
    attempt.send_data(b"he")
    attempt.send_data(b"llo")
    attempt.send_end(trailers)
    attempt.fail(CONNECT, "connect_refused", "")
    assert (attempt.unsent(), receiver.told) == (([b"he", b"llo"], trailers), ["failure connect connect_refused"])


def test_what_is_sent_before_there_is_a_connection_goes_out_with_the_head() -> None:
    up, attempt, _ = connecting()
    assert not attempt.send_data(b"he")
    assert not attempt.send_data(b"")
    assert not attempt.send_data(b"llo")
    attempt.send_end(fields((b"X-T", b"1")))
    attempt.pause()
    attempt.resume()
    up.connection.start(attempt)
    assert up.transport.sent.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n")


def test_cancelled_while_connecting() -> None:
    up, attempt, receiver = connecting()
    attempt.cancel("enough")
    attempt.cancel("again")
    assert attempt.dial.cancelled
    assert up.endpoint.active == 0
    attempt.fail(CONNECT, "connect_refused", "late")
    assert not receiver.told
    assert attempt.send_data(b"late")
    attempt.send_end()
    assert repr(attempt) == "<Attempt <Request PUT /> 192.0.2.1:80 over>"


def test_failed_once() -> None:
    up, attempt, receiver = connecting()
    attempt.fail(CONNECT, "connect_refused", "no")
    attempt.fail(CONNECT, "connect_refused", "no")
    assert receiver.told == ["failure connect connect_refused"]
    assert up.endpoint.active == 0


@pytest.mark.parametrize(
    ("ready", "healthy", "ejected", "usable"),
    [
        pytest.param(True, True, False, True, id="well"),
        pytest.param(False, True, False, False, id="not-ready"),
        pytest.param(True, False, False, False, id="its checks fail"),
        pytest.param(True, True, True, False, id="ejected"),
    ],
)
def test_an_endpoint_is_used_if_nothing_speaks_against_it(
    ready: bool, healthy: bool, ejected: bool, usable: bool
) -> None:
    async def main() -> None:
        one = endpoint(1)
        one.ejected = ejected
        one.update(EndpointSpec(uid="one", address="127.0.0.1", port=1, ready=ready, healthy=healthy))
        assert one.usable is usable

    run(main)
