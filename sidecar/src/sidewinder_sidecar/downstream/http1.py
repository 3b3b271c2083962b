"""An HTTP/1 connection from a caller: bytes to requests. Made by the listener; answers are in `answering`.

Each request gets a fresh exchange, one at a time: pipelined requests wait unread and are answered in order, so no
answer can overtake another.

Bound on memory: UNREAD bytes of requests that wait, plus one read (256 KiB on uvloop), plus one small head (`Seen`);
unsent answers as in `wire`.
Head, idle and stall times are one entry on the wheel, checked when due, never moved per request.

What is decided here:
* A caller that half-closes after its request is still answered. A FIN is also all that is seen of one that has left: an
  answer that has not begun `linger_seconds` later is given up.
* CONNECT and Upgrade: bytes that follow the head wait until the tunnel is open; if it is refused, those after CONNECT
  are no request.
* One empty line before a request is forgiven, two are not.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar import errors
from sidewinder_sidecar.downstream.answering import BODY, DISCARD, ENDED, IDLE, STATES, TUNNEL, Answering
from sidewinder_sidecar.exchange import NAME
from sidewinder_sidecar.http1 import encode, request_head
from sidewinder_sidecar.http1.framing import BadFraming, Chunked
from sidewinder_sidecar.http1.lines import END, Seen
from sidewinder_sidecar.messages import Peer
from sidewinder_sidecar.wire import OPEN

if TYPE_CHECKING:
    from sidewinder_sidecar.downstream.listener import Listener

UNREAD: Final = 65536  # bytes of pipelined requests after which reading stops: as much as one head may be


class Connection(Answering):
    """One caller's connection."""

    __slots__ = ("blank", "chunks", "head_since", "left", "peer", "seen")

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener)
        self.peer: Peer  # for life
        self.seen = Seen()
        self.blank = False  # an empty line came before the head
        self.head_since = 0.0  # when an unfinished head began
        self.left = 0  # bytes of a body of known length
        self.chunks: Chunked | None = None

    def on_open(self) -> None:
        name = self.transport.get_extra_info("peername")
        self.peer = Peer(name[0], name[1], self.secure) if isinstance(name, tuple) else Peer(secure=self.secure)
        self.moved = now = self.wheel.clock()
        self.listener.connections.add(self)
        if len(self.listener.connections) > self.limits.connections or self.listener.closed:
            self._turn_away()
        else:
            self.wake(now + self.limits.idle_seconds)

    def on_lost(self, error: Exception | None) -> None:
        self.listener.connections.discard(self)
        self._leave("caller_gone")

    # Requests come in.

    def data_received(self, data: bytes) -> None:
        if self.wired != OPEN:
            return
        state = self.state
        if state == IDLE:
            if self.unread:
                data = self.unread + data
                self.unread = b""
            self._on_heads(data)
        elif state == BODY:
            self.moved = self.wheel.clock()
            if rest := self._on_body(data):
                self._on_rest(rest)
        elif state == ENDED:
            self._put_back(data)
        elif state == TUNNEL and self.serving is not None:
            self.serving.on_request_data(data)

    def _on_heads(self, data: bytes) -> None:
        """As many requests as are there and answered at once; one that runs on leaves the rest unread."""
        self.heading = True
        at, begun = 0, 0
        while at < len(data) and self.state == IDLE and self.wired == OPEN:
            if begun == self.limits.pipelined:  # others have their turn
                asyncio.get_running_loop().call_soon(self.go_on)
                break
            if data[at] == 13 and data.startswith(b"\r\n", at) and not self.blank:
                self.blank = True  # one empty line before a request is forgiven (RFC 9112 section 2.2)
                at += 2
                continue
            end = data.find(END, at) + 4
            if end == 3:
                self._on_unfinished(data[at:])
                at = len(data)
                break
            self._begin(data if end == len(data) and not at else data[at:end])
            begun += 1
            at = end
            if self.state == BODY:
                at = len(data) - len(self._on_first_body(data[at:]))
        self.heading = False
        if at < len(data):
            self._put_back(data[at:])

    def _begin(self, block: bytes) -> None:
        try:
            request, self.keep = request_head.parse(block, self.limits, self.seen)
        except errors.DownstreamError as fault:
            self._refuse(fault.error, fault.detail)
            return
        self.leaving = not self.keep
        self.head_since = 0.0
        self.blank = False
        self.request = request
        self.answering = False
        if request.upgrade == b"connect":
            self.keep = False  # what follows is the tunnel's, or nobody's
        listener = self.listener
        self.serving = serving = listener.exchange(self, listener.proxy, listener.name, self.peer)
        if request.length == 0:
            self.state = ENDED
            serving.begin(request, True)
            return
        self.state = BODY
        self.continued = False
        if request.length is None:
            self.chunks = Chunked()
        else:
            self.chunks, self.left = None, request.length
        self.moved = now = self.wheel.clock()
        self.wake(now + self.limits.stall_seconds)
        serving.begin(request, False)

    def _on_unfinished(self, seen: bytes) -> None:
        if found := request_head.fault(seen, self.limits):
            self._refuse(*found)
            return
        self.unread = seen
        if not self.head_since:
            self.head_since = now = self.wheel.clock()
            self.wake(now + self.limits.head_seconds)

    def _on_first_body(self, data: bytes) -> bytes:
        """What came with the head; nothing lets the exchange send what it has, before it waits."""
        if data:
            return self._on_body(data)
        if self.serving is not None:
            self.serving.on_request_data(b"")
        return b""

    def _on_body(self, data: bytes) -> bytes:
        """Hand the body on; returns what follows it."""
        serving = self.serving
        rest, trailers, ended = b"", None, False
        if self.chunks is None:
            self.left -= len(data)
            if (over := -self.left) >= 0:
                ended = True
                if over:
                    data, rest = data[:-over], data[-over:]
        else:
            try:
                data = self.chunks.feed(data)
            except BadFraming as fault:
                self._cut_short("bad_request", str(fault))
                return b""
            if self.chunks.ended:
                ended, rest, trailers = True, self.chunks.rest, self.chunks.trailers
        if ended:
            self.state = ENDED
            self.chunks = None
        if (data or not ended) and serving is not None:  # nothing yet: the head must not wait for it
            serving.on_request_data(data)
        if ended and serving is not None and self.serving is serving:
            serving.on_request_end(trailers)
        return rest

    def _on_rest(self, data: bytes) -> None:
        if self.state == IDLE:
            self._on_heads(data)
        else:
            self._put_back(data)

    def _put_back(self, data: bytes) -> None:
        """Requests that wait for their turn: a bounded number and size, then reading stops."""
        self.unread = unread = self.unread + data if self.unread else data
        if not self.full and (len(unread) > UNREAD or unread.count(END) >= self.limits.pipelined):
            self.full = True
            self.transport.pause_reading()

    def go_on(self) -> None:
        """The next of the requests that waited."""
        if self.state == IDLE and self.wired == OPEN and self.unread and not self.heading:
            data, self.unread = self.unread, b""
            self._on_heads(data)
        unfinished = self.state == IDLE and END not in self.unread  # bounded as a head
        if self.full and self.wired == OPEN and (unfinished or len(self.unread) <= UNREAD):
            self.full = False
            if not self.waits:
                self.transport.resume_reading()
        if self.half_closed and self.state == IDLE and not self.unread:
            self.close()

    # Or they do not.

    def eof_received(self) -> bool:
        """Whether the connection stays open for our side."""
        if self.wired != OPEN or self.state == IDLE:
            return False
        if self.state == TUNNEL:
            return self._on_tunnel_half_closed()
        if self.state == BODY:
            self._leave("caller_gone")
            self.abort()
            return False
        self.half_closed = True
        self.moved = now = self.wheel.clock()
        self.wake(now + self.limits.linger_seconds)
        return True

    def _on_tunnel_half_closed(self) -> bool:
        serving = self.serving
        self.half_closed = True
        if serving is not None:
            serving.on_request_end(None)
        if self.answering:  # until our end is said
            return True
        self.serving = None
        return False

    def on_due(self, now: float) -> None:
        """One look at the clock for every way of being slow; an exchange that is stuck sees to itself."""
        limits = self.limits
        if self.state == IDLE:
            due = self.head_since + limits.head_seconds if self.head_since else self.moved + limits.idle_seconds
        elif self.state == ENDED and self.half_closed and not self.answering:
            due = self.moved + limits.linger_seconds
        elif self.state == BODY and not self.waits:
            due = self.moved + limits.stall_seconds
        else:
            due = now + min(limits.stall_seconds, limits.idle_seconds)
        if now < due:
            self.wake(due)
        elif self.state == IDLE:
            if self.head_since:
                self._refuse("request_timeout", f"the head took longer than {limits.head_seconds:g} s")
            else:
                self.finish()
        elif self.state == BODY:
            self._cut_short("request_timeout", f"nothing of the body came for {limits.stall_seconds:g} s")
        else:
            self._leave("caller_gone")
            self.abort()

    def on_writable(self) -> None:
        if self.serving is not None:
            self.serving.on_caller_writable()

    def _refuse(self, error: str, detail: str) -> None:
        """Not even a request: answered and recorded by an exchange all the same."""
        self.request, self.keep, self.answering = None, False, False
        self.state = ENDED
        self.unread = b""
        listener = self.listener
        self.serving = serving = listener.exchange(self, listener.proxy, listener.name, self.peer)
        serving.refuse(error, detail, None)

    def _cut_short(self, error: str, detail: str) -> None:
        """A body that cannot go on: answered, or the answer that runs is cut."""
        self.keep = False
        self.unread = b""
        if self.serving is not None:
            self.serving.refuse(error, detail, None)

    def _leave(self, error: str) -> None:
        """Tell the exchange that there is nobody any more, and forget it."""
        serving, self.serving = self.serving, None
        self.state = DISCARD
        self.unread = self.held = b""
        if serving is not None:
            serving.on_caller_gone(error)

    def _turn_away(self) -> None:
        self.state = DISCARD
        detail = f"the proxy has {self.limits.connections} connections already"
        response, body = errors.render(errors.refusal("overloaded", detail), None, NAME)
        self.listener.turned_away += 1
        self.write(encode.response_head(response, False, None, False)[0] + body)
        self.finish()

    def drain(self) -> None:
        """End when what runs has ended."""
        self.keep = False
        if self.state == IDLE and not self.unread:
            self.finish()

    def __repr__(self) -> str:
        return f"<Connection {self.peer.address}:{self.peer.port} {STATES[self.state]}>"
