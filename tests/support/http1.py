"""HTTP/1 conversations without sockets: a caller's connection with an exchange that plays a part, an upstream's with a
receiver that writes down what it is told. Time is a hand-driven clock; the loop turns when a test says so.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any

from sidewinder_sidecar import errors, proxy
from sidewinder_sidecar.downstream.http1 import Connection as Downstream
from sidewinder_sidecar.downstream.listener import Listener
from sidewinder_sidecar.fields import Fields, fields
from sidewinder_sidecar.fleet import Fleet
from sidewinder_sidecar.messages import Failure, Peer, Request, Response
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
from sidewinder_sidecar.upstream.endpoint import Endpoint
from sidewinder_sidecar.upstream.http1 import Connection as Upstream
from sidewinder_sidecar.wheel import Wheel
from tests.support.memory import Clock
from tests.support.transport import FakeTransport, connect

LIMITS = Limits()


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """A test that needs a loop for `call_soon`, not for time."""
    with asyncio.Runner() as runner:
        return runner.run(asyncio.wait_for(main(), 20))


async def turns(count: int = 5) -> None:
    """Let what is due soon happen."""
    for _ in range(count):
        await asyncio.sleep(0)


class Proxy(proxy.Proxy):
    """The exchanges' Proxy, of which connections know little; it has no plan."""

    def __init__(self, limits: Limits = LIMITS, wheel: Wheel | None = None) -> None:
        clock = Clock()
        wheel = wheel or Wheel(clock, clock.later)
        super().__init__(
            Fleet(wheel, lambda spec, seconds: Endpoint(spec, limits, wheel, seconds)), wheel, None, limits
        )
        self.clock = clock
        self.exchanges: list[Exchange] = []
        self.endpoint: Endpoint | None = None


class Exchange:
    """Writes down what the stream says. What it answers is a subclass's matter; here: nothing until the test does."""

    def __init__(self, caller: Any, proxy: Proxy, listener: str, peer: Peer) -> None:
        self.caller = caller
        self.proxy = proxy
        self.peer = peer
        self.request: Request | None = None
        self.body = b""
        self.trailers: Fields | None = None
        self.ended = False
        self.gone = ""
        self.refused = ""
        self.writable = 0
        proxy.exchanges.append(self)

    def begin(self, request: Request, ended: bool) -> None:
        assert self.request is None
        self.request = request
        self.ended = ended
        self.on_begun()

    def on_request_data(self, data: bytes) -> None:
        assert not self.ended or self.request.upgrade
        self.body += data

    def on_request_end(self, trailers: Fields | None) -> None:
        assert not self.ended or self.request.upgrade
        self.ended = True
        self.trailers = trailers
        self.on_whole()

    def on_caller_writable(self) -> None:
        self.writable += 1

    def on_caller_gone(self, error: str) -> None:
        assert not self.gone
        self.gone = error

    def refuse(self, error: str, detail: str, request: Request | None) -> None:
        self.refused = error
        response, body = errors.render(errors.refusal(error, detail), self.request, "sidewinder")
        self.caller.send_head(response, body)

    def on_begun(self) -> None:
        """The head is here."""

    def on_whole(self) -> None:
        """The body is here."""

    def answer(self, status: int = 200, body: bytes = b"", *pairs: tuple[bytes, bytes]) -> None:
        response = Response(status, fields(*pairs), len(body))
        self.caller.send_head(response, body)


class Echo(Exchange):
    """Answers a whole request with what it understood."""

    def on_begun(self) -> None:
        if self.ended:
            self.on_whole()

    def on_whole(self) -> None:
        self.answer(200, understood(self.request, self.body, self.trailers))


def understood(request: Request, body: bytes, trailers: Fields | None) -> bytes:
    rows = [(name, value) for _, name, value in request.fields]
    more = [] if trailers is None else [(name, value) for _, name, value in trailers]
    return repr((request.method, request.target, request.authority, rows, body, more)).encode()


class Down:
    """A caller's connection on a fake transport."""

    def __init__(self, exchange: type = Exchange, limits: Limits = LIMITS, room: int = 1 << 30) -> None:
        self.proxy = Proxy(limits)
        self.listener = Listener(self.proxy, "test", "127.0.0.1", 0, exchange)
        self.connection = Downstream(self.listener)
        self.transport: FakeTransport = connect(self.connection, room)

    async def say(self, *pieces: bytes) -> bytes:
        """Bytes from the caller, one read a piece; returns all that was ever answered."""
        for piece in pieces:
            if not self.transport.closing:
                self.connection.data_received(piece)
            await turns()
        return self.transport.sent

    @property
    def exchange(self) -> Any:
        return self.proxy.exchanges[-1]

    def statuses(self) -> list[int]:
        """Of the answers, by their first lines."""
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", self.transport.sent)]


class Receiver:
    """Writes down what an attempt says, and that it keeps to the vocabulary."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.response: Response | None = None
        self.body = b""
        self.over = False
        self.trailers: Fields | None = None
        self.failure: Failure | None = None
        self.writable = 0
        self.on_each: Callable[[str], None] = lambda what: None

    def _tell(self, what: str) -> None:
        assert not self.over, f"{what} after the end"
        if what != "data" or self.told[-1:] != ["data"]:
            self.told.append(what)

    def on_informational(self, response: Response) -> None:
        self._tell(f"informational {response.status}")
        self.on_each("informational")

    def on_response(self, response: Response, body: bytes | None) -> None:
        assert self.response is None
        self._tell(f"response {response.status}")
        self.response = response
        if body:  # the same words, however it came
            self._tell("data")
            self._tell("end")
            self.body = body
        self.over = body is not None
        self.on_each("response")

    def on_data(self, data: bytes) -> None:
        if data:
            self._tell("data")
            self.body += data
            self.on_each("data")

    def on_end(self, trailers: Fields | None) -> None:
        self._tell("end")
        self.over = self.response is None or self.response.status != 101
        self.trailers = trailers
        self.on_each("end")

    def on_tunnel(self, response: Response) -> None:
        self._tell("tunnel")
        self.response = Response(101, response.fields)
        self.on_each("tunnel")

    def on_failure(self, failure: Failure) -> None:
        self._tell(f"failure {failure.stage} {failure.error}")
        self.failure = failure
        self.over = True

    def on_writable(self) -> None:
        self.writable += 1


def request(method: bytes = b"GET", length: int | None = 0, *pairs: tuple[bytes, bytes]) -> Request:
    return Request(method, b"/", b"upstream", fields((b"Host", b"upstream"), *pairs), length)


class Up:
    """An upstream's connection on a fake transport, pooled, so that `open` takes it."""

    def __init__(self, limits: Limits = LIMITS, room: int = 1 << 30, used: int = 0) -> None:
        self.proxy = Proxy(limits)
        spec = EndpointSpec(uid="one", address="192.0.2.1", port=80)
        self.endpoint = Endpoint(spec, limits, self.proxy.wheel, 5.0)
        self.transport, self.connection = self.pooled(room, used)

    def pooled(self, room: int = 1 << 30, used: int = 0) -> tuple[FakeTransport, Upstream]:
        connection = Upstream(self.endpoint, None)
        transport = FakeTransport(connection, room)
        connection.transport = transport
        connection.wired = 0
        connection.used = used
        connection.since = self.proxy.clock()
        connection.wake(connection.since + connection.idle_seconds)
        self.endpoint.idle.append(connection)
        return transport, connection

    def open(self, asked: Request | None = None) -> tuple[Any, Receiver]:
        receiver = Receiver()
        attempt = self.endpoint.open(asked or request(), receiver)
        assert not receiver.told, "called back inside open"
        return attempt, receiver

    def hear(self, *pieces: bytes) -> None:
        for piece in pieces:
            if not self.transport.closing:
                self.connection.data_received(piece)
        self.transport.settle()
