"""A connection to an endpoint being made: the one task of its life, and its time limit. Started by `endpoint`.

Whoever waits for it may leave, because a try's time is over or another connection became free: over TLS it is made all
the same, for the next try. Else a proxy that is short of time would begin every handshake and finish none.

To another proxy of the mesh that is TLS with our certificate, and the server's must be for the very SPIFFE ID that the
endpoint has; to a host outside it may be ordinary TLS. There is no way from either back to plain.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

from sidewinder_sidecar.messages import CONNECT
from sidewinder_sidecar.tls import contexts
from sidewinder_sidecar.tls.frames import Framed
from sidewinder_sidecar.tls.keyring import Refused, failure
from sidewinder_sidecar.upstream import http1, tcp

if TYPE_CHECKING:
    from sidewinder_sidecar.tls.certificate import Leaf
    from sidewinder_sidecar.upstream.endpoint import Attempt, Endpoint
    from sidewinder_sidecar.wheel import Slot

CLIENT: Final = "client"
SHUTDOWN_SECONDS: Final = 1.0  # for the peer's close_notify: nobody waits for it
LATE_SECONDS: Final = 1.0  # what takes longer may be stuck (TCP sends a lost SYN again only then): nobody else joins it


class Dial:
    """Until the connection has an attempt, or the attempt is told why there is none. `attempt` is None once nobody
    waits for it, and when it is made."""

    __slots__ = ("answered", "attempt", "began", "endpoint", "epoch", "make", "slot", "task", "too_late")

    def __init__(
        self, endpoint: Endpoint, attempt: Attempt, make: type[http1.Connection] | type[tcp.Connection]
    ) -> None:
        self.endpoint = endpoint
        self.attempt: Attempt | None = attempt
        self.make = make
        self.epoch = endpoint.keyring.epoch
        self.answered = False  # the handshake is over
        self.too_late = False
        attempt.dial = self
        endpoint.dials[self] = None  # the loop keeps only weak references to tasks
        wheel = endpoint.wheel
        self.began = wheel.clock()
        self.slot: Slot = wheel.at(self.began + endpoint.connect_timeout, self)
        self.task = asyncio.get_running_loop().create_task(self._run())
        self.task.add_done_callback(self._done)

    def on_time(self, now: float) -> None:
        self.too_late = True
        self.give_up()

    def cancel(self) -> None:
        """The attempt is not wanted any more. A plain connection costs nothing: it is given up."""
        if self.make is http1.Connection and self.endpoint.secure and not self.endpoint.retired:
            self.leave()
        else:
            self.give_up()

    def give_up(self) -> None:
        """Nobody will want it."""
        if not self.answered:
            self.task.cancel()

    def is_free(self) -> bool:
        """Does nobody wait for it, and may somebody?"""
        return (
            self.attempt is None
            and not self.answered
            and not self.task.done()
            and self.endpoint.wheel.clock() - self.began < LATE_SECONDS
            and (self.epoch == self.endpoint.keyring.epoch or not self.endpoint.identity)
        )

    def join(self, attempt: Attempt) -> None:
        """Somebody else waits for it."""
        self.attempt = attempt
        attempt.dial = self

    def leave(self) -> Attempt | None:
        """The attempt, which does not wait for it any more: it has a connection."""
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.dial = None
        return attempt

    async def _run(self) -> None:
        host, port = self.endpoint.address
        lookup = self.endpoint.lookup
        if lookup is None:
            await self._connect(host, port)
            return
        addresses = await lookup.addresses(self.endpoint.wheel.clock())
        for left, address in enumerate(addresses, 1 - len(addresses)):
            try:
                await self._connect(address, port)
            except BaseException as error:  # or it took too long, and we are cancelled
                lookup.avoid(address)
                if left == 0 or not isinstance(error, OSError) or isinstance(error, ssl.SSLError):
                    raise
            else:
                return

    async def _connect(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        endpoint = self.endpoint
        if not endpoint.secure:
            await loop.create_connection(self._made, host, port)
            return
        await loop.create_connection(
            self._checked,
            host,
            port,
            ssl=self._context(),
            server_hostname=endpoint.server_name,
            ssl_handshake_timeout=endpoint.connect_timeout,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )

    def _context(self) -> ssl.SSLContext:
        endpoint = self.endpoint
        if not endpoint.identity:
            return endpoint.keyring.outside(endpoint.trust)
        ours = endpoint.keyring.usable
        if ours is None:
            have = "no identity of our own yet" if endpoint.keyring.credentials is None else "our certificate has ended"
            raise Refused("own_missing", f"{have}: {endpoint.identity} is not called without one")
        return ours.h1 if self.make is http1.Connection else ours.tcp

    def _made(self) -> Any:  # an asyncio.Protocol, see Wire
        return self.make(self.endpoint, self.attempt)

    def _checked(self) -> Any:
        return Checked(self)

    def on_secure(self, transport: Any) -> None:
        """The handshake is over: is it whom we have called?"""
        self.answered = True
        endpoint, keyring = self.endpoint, self.endpoint.keyring
        leaf: Leaf | None = None
        try:
            if endpoint.identity:
                leaf = keyring.judge(transport)
                self._compare(leaf, transport.get_extra_info("ssl_object").selected_alpn_protocol())
        except Refused as fault:
            self._fail("tls_identity", fault.result, fault.detail)
            transport.abort()
            return
        keyring.count(CLIENT, "ok")
        connection = self.make(endpoint, self.leave())
        connection.epoch = self.epoch
        keyring.watch(connection, leaf, self.epoch if endpoint.identity else 0)
        if endpoint.identity and self.make is tcp.Connection:
            Framed(transport).carry(connection)
        else:
            transport.set_protocol(connection)
            connection.connection_made(transport)

    def _compare(self, leaf: Leaf, spoken: str | None) -> None:
        endpoint = self.endpoint
        if leaf.spiffe_id != endpoint.identity:
            raise Refused("identity", f"{leaf.spiffe_id} answers where {endpoint.identity} should")
        if spoken != (contexts.H1 if self.make is http1.Connection else contexts.TCP):
            raise Refused("alpn", f"{leaf.spiffe_id} does not speak as proxies of the mesh do")

    def _fail(self, error: str, result: str, detail: str) -> None:
        host, port = self.endpoint.address
        self.endpoint.keyring.failed(CLIENT, result, f"{host}:{port}", detail)
        self._tell(error, detail)

    def _tell(self, error: str, detail: str) -> None:
        if (attempt := self.leave()) is not None:
            attempt.fail(CONNECT, error, detail)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.slot.discard(self)
        self.endpoint.dials.pop(self, None)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        attempt = self.attempt
        if error is None or (attempt is not None and (attempt.connection is not None or attempt.receiver is None)):
            self.leave()
            return
        if isinstance(error, asyncio.CancelledError):
            if self.too_late:
                self._tell("connect_timeout", f"no connection within {self.endpoint.connect_timeout:g} s")
            else:
                self._tell("connect_failed", "connecting was given up")
        elif isinstance(error, Refused):
            self._fail("tls_failed", error.result, error.detail)
        elif isinstance(error, ssl.SSLError):
            self._fail("tls_failed", *failure(error))
        elif isinstance(error, OSError):
            self._tell(_kind(error), _reason(error))
        else:
            self._tell("bug", repr(error))
            raise error

    def __repr__(self) -> str:
        return f"<Dial {self.endpoint.address[0]}:{self.endpoint.address[1]}>"


class Checked:
    """What TLS speaks to until it is known who answers. An asyncio.Protocol, but not by descent."""

    __slots__ = ("dial",)

    def __init__(self, dial: Dial) -> None:
        self.dial = dial

    def connection_made(self, transport: Any) -> None:
        self.dial.on_secure(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """It was not whom we have called."""

    def data_received(self, data: bytes) -> None:
        """It is not listened to."""

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        """Nothing is written."""

    def resume_writing(self) -> None:
        """Nothing is written."""


def _kind(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "dns_error"
    return "connect_refused" if isinstance(error, ConnectionRefusedError) else "connect_failed"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
