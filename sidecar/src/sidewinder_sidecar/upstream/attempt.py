"""One try at one endpoint: what the exchange holds of it. Made by endpoint, carried by a connection of http1 or tcp.

It lives for one request, so that a late call can never reach the next request on the same connection. What is sent
before there is a connection is kept, and the sender told to stop at once: it is what one read brought, or a replay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sidewinder_sidecar.messages import Failure

if TYPE_CHECKING:
    from sidewinder_sidecar.fields import Fields
    from sidewinder_sidecar.messages import Receiver, Request
    from sidewinder_sidecar.upstream.endpoint import Endpoint


class Line(Protocol):
    """A connection that carries an attempt."""

    @property
    def tunnels(self) -> bool: ...
    def send_data(self, data: bytes) -> bool: ...
    def send_end(self, trailers: Fields | None) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def abandon(self) -> None: ...


class Cancels(Protocol):
    """A connection that is being made."""

    def cancel(self) -> None: ...


class Attempt:
    """Without a connection it is being connected, or over."""

    __slots__ = ("connection", "dial", "ended", "endpoint", "head", "pending", "receiver", "request", "trailers")

    def __init__(self, endpoint: Endpoint, request: Request, receiver: Receiver, head: bytes = b"") -> None:
        self.endpoint = endpoint
        self.request = request
        self.receiver: Receiver | None = receiver  # None: over
        self.head = head
        self.connection: Line | None = None
        self.dial: Cancels | None = None
        self.ended = request.length == 0
        self.pending: list[bytes] | None = None  # what was sent before there was a connection
        self.trailers: Fields | None = None

    def send_data(self, data: bytes) -> bool:
        connection = self.connection
        if connection is not None:
            return connection.send_data(data)
        if self.receiver is None:
            return True
        if data:
            self.pending = [*(self.pending or ()), data]
        return False

    def send_end(self, trailers: Fields | None = None) -> None:
        connection = self.connection
        if connection is not None:
            if not self.ended or connection.tunnels:
                self.ended = True
                connection.send_end(trailers)
        elif self.receiver is not None:
            self.ended = True
            self.trailers = trailers

    def pause(self) -> None:
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        if self.connection is not None:
            self.connection.resume()

    def cancel(self, reason: str) -> None:
        if self.receiver is None:
            return
        self.receiver = None
        if self.dial is not None:
            self.dial.cancel()
        if self.connection is not None:
            self.connection.abandon()
        else:
            self.endpoint.active -= 1

    def fail(self, stage: str, error: str, detail: str) -> None:
        """Over, without an answer: tell the receiver."""
        receiver, self.receiver = self.receiver, None
        self.connection = None
        if receiver is not None:
            self.endpoint.active -= 1
            receiver.on_failure(Failure(stage, error, detail))

    def __repr__(self) -> str:
        state = "over" if self.receiver is None else "connecting" if self.connection is None else "running"
        return f"<Attempt {self.request!r} {self.endpoint.address[0]}:{self.endpoint.address[1]} {state}>"
