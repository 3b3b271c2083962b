"""A bare connection to an endpoint, for CONNECT and for what is relayed: bytes both ways, each side's end passed on.

Made by endpoint.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.fields import Fields
from sidewinder_sidecar.messages import ANSWERING, Response
from sidewinder_sidecar.wire import OPEN, Wire

if TYPE_CHECKING:
    from asyncio import BaseTransport

    from sidewinder_sidecar.upstream.endpoint import Attempt, Endpoint

# After a minute of silence, every 15 s, given up after four: below what firewalls forget after (5 min and more).
_ASKING: Final[tuple[tuple[int, int], ...]] = (
    (socket.TCP_KEEPIDLE, 60),
    (socket.TCP_KEEPINTVL, 15),
    (socket.TCP_KEEPCNT, 4),
)


class Connection(Wire):
    """A tunnel from its first byte; never pooled. How long it may stand still is the exchange's to say.

    Over TLS it stands on `tls/frames`, so that ends are told one by one there as well.
    """

    __slots__ = ("attempt", "endpoint", "epoch", "heard_eof")

    def __init__(self, endpoint: Endpoint, attempt: Attempt | None) -> None:
        super().__init__(endpoint.wheel, endpoint.limits)
        self.endpoint = endpoint
        self.attempt = attempt
        self.epoch = 0  # of the certificate that it was made with
        self.heard_eof = False

    @property
    def tunnels(self) -> bool:
        return True

    def on_open(self) -> None:
        attempt = self.attempt
        if attempt is None or attempt.receiver is None:
            self.attempt = None
            self.abort()
            return
        attempt.connection = self
        keep_alive(self.transport)
        attempt.receiver.on_tunnel(Response(200, Fields([])))
        pending, attempt.pending = attempt.pending, None
        for data in pending or ():
            self.write(data)

    def send_data(self, data: bytes) -> bool:
        if data:
            self.write(data)
        return self.room

    def send_end(self, trailers: Fields | None) -> None:
        if self.heard_eof:
            self._leave()
            self.close()
        else:
            self.say_eof()

    def pause(self) -> None:
        if self.wired == OPEN:
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.wired == OPEN:
            self.transport.resume_reading()

    def abandon(self) -> None:
        self._leave()
        self.abort()

    def data_received(self, data: bytes) -> None:
        if self.attempt is not None and self.attempt.receiver is not None:
            self.attempt.receiver.on_data(data)

    def eof_received(self) -> bool:
        """Whether the connection stays open for our side."""
        self.heard_eof = True
        receiver = self.attempt.receiver if self.attempt is not None else None
        if self.said_eof:
            self._leave()
        if receiver is not None:
            receiver.on_end(None)
        return not self.said_eof

    def drain(self) -> None:
        """The certificate has ended. What moves here ends by itself, or is broken off a moment later."""

    def on_writable(self) -> None:
        if self.attempt is not None and self.attempt.receiver is not None:
            self.attempt.receiver.on_writable()

    def on_lost(self, error: Exception | None) -> None:
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.fail(ANSWERING, "incomplete", "the tunnel's upstream closed the connection")

    def _leave(self) -> None:
        attempt, self.attempt = self.attempt, None
        if attempt is not None and attempt.connection is self:
            attempt.connection = attempt.receiver = None
            self.endpoint.active -= 1


def keep_alive(transport: BaseTransport) -> None:
    """Have the kernel ask a silent peer whether it is still there: firewalls on the way forget it else, and so do we.

    An application that does so asks us, not its peer.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _ASKING:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
    except OSError:
        pass  # it has gone, or is no TCP
