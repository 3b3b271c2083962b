"""An HTTP/1 connection from a caller: bytes to requests, answers to bytes. Made by the listener.

Each request gets a fresh exchange, one at a time: pipelined requests wait unread and are answered in order, so no
answer can overtake another. What is more than a request read and its answer written is in `detour`.

Bound on memory: UNREAD bytes of requests that wait, plus one read (256 KiB on uvloop), plus one small head (`Seen`);
unsent answers as in `wire`.
Head, idle and stall times are one entry on the wheel, checked when due, never moved per request.

What is decided here:
* CONNECT and Upgrade: bytes that follow the head wait until the tunnel is open; if it is refused, those after CONNECT
  are no request.
* One empty line before a request is forgiven, two are not.
* An answer that begins before the request has ended announces `Connection: close`; what the caller still sends after it
  is thrown away for `linger_seconds` at most, so that it can read the answer.
* Trailers are passed on to whoever speaks chunked; a caller's `TE: trailers` goes up, so the upstream knows.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.downstream.detour import BODY, ENDED, IDLE, STATES, TUNNEL, Detour
from sidewinder_sidecar.errors import DownstreamError
from sidewinder_sidecar.http1 import encode, request_head
from sidewinder_sidecar.http1.framing import BadFraming, Chunked
from sidewinder_sidecar.http1.lines import CHUNKED, CLOSE, END, LENGTH, NONE, Seen
from sidewinder_sidecar.messages import Peer
from sidewinder_sidecar.wire import JOIN, OPEN, jittered

if TYPE_CHECKING:
    from sidewinder_sidecar.downstream.listener import Listener
    from sidewinder_sidecar.fields import Fields
    from sidewinder_sidecar.messages import Response

UNREAD: Final = 65536  # bytes of pipelined requests after which reading stops: as much as one head may be


class Connection(Detour):
    """One caller's connection."""

    __slots__ = ("blank", "chunks", "client", "judged", "known", "left", "seen")

    def __init__(self, listener: Listener, client: str = "", peer: Peer | None = None) -> None:
        super().__init__(listener)
        self.client = client  # whom a PROXY protocol header has named
        self.known = peer  # who it is, where that was found out before
        self.seen = Seen()
        self.blank = False  # an empty line came before the head
        self.judged = 0  # bytes of an unfinished head in which nothing is wrong
        self.left = 0  # bytes of a body of known length
        self.chunks: Chunked | None = None

    def on_open(self) -> None:
        self.peer = self.known or self._caller()
        if self.client:
            self.peer.stands_for(self.client)
        self.listener.met(self.peer)
        self.moved = now = self.wheel.clock()
        self.listener.connections.add(self)
        if len(self.listener.connections) > self.limits.connections or self.listener.closed:
            self._turn_away()
        else:
            self.ages_at = now + jittered(self.limits.connection_age_seconds)
            if self.peer.identity:
                self.brief = self.listener.brief()
            self.wake(min(now + self.limits.idle_seconds, self.ages_at))

    def _caller(self) -> Peer:
        name = self.transport.get_extra_info("peername")
        return Peer(name[0], name[1], self.secure) if isinstance(name, tuple) else Peer(secure=self.secure)

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
                self.judged = 0
                at += 2
                continue
            end = data.find(END, at + self.judged - 3 if self.judged > 3 else at) + 4
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
        except DownstreamError as fault:
            self._refuse(fault.error, fault.detail)
            return
        self.leaving = not self.keep
        self.head_since = 0.0
        self.blank = False
        self.judged = 0
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
        self.wake(min(now + self.limits.stall_seconds, self.ages_at))
        serving.begin(request, False)

    def _refuse(self, error: str, detail: str) -> None:
        """Not even a request: answered and recorded by an exchange all the same."""
        self.request, self.keep, self.answering = None, False, False
        self.state = ENDED
        self.unread = b""
        listener = self.listener
        self.serving = serving = listener.exchange(self, listener.proxy, listener.name, self.peer)
        serving.refuse(error, detail, None)

    def _on_unfinished(self, seen: bytes) -> None:
        if found := request_head.fault(seen, self.limits, self.judged):
            self._refuse(*found)
            return
        self.unread = seen
        self.judged = len(seen)
        if not self.head_since:
            self.head_since = now = self.wheel.clock()
            self.wake(min(now + self.limits.head_seconds, self.ages_at))

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

    # Answers go out.

    def send_head(self, response: Response, body: bytes | None) -> None:
        keep = self.keep and self.state == ENDED and not (response.close or self.aged or self.listener.proxy.draining)
        if self.half_closed and not self.unread:
            keep = False
        block, ending = encode.response_head(response, body, self.request, keep)
        self.keep = keep and ending != CLOSE
        self.ending = ending
        self.answering = True
        if self.brief and self.keep:
            block = b"%bKeep-Alive: timeout=%d\r\n\r\n" % (block[:-2], self.brief)
            self.brief = 0
        if body is None:
            self.owed = response.length or 0 if ending == LENGTH else 0
            self.held = block
            return
        self.owed = 0
        if ending == NONE:  # HEAD, 204, 304: whoever answers need not know
            self.write(block)
        elif len(body) < JOIN:
            self.write(block + body)
        else:
            self.write_all((block, body))
        self._on_answered()

    def send_data(self, data: bytes) -> bool:
        return self.send_raw(data) if self.state == TUNNEL else self.send_body(data)

    def send_end(self, trailers: Fields | None = None) -> None:
        if self.state == TUNNEL:
            self._end_tunnel()
        elif self.send_last(trailers if self.ending == CHUNKED else None):
            self._on_answered()
        else:
            self._forget()

    def on_writable(self) -> None:
        if self.serving is not None:
            self.serving.on_caller_writable()

    def _on_answered(self) -> None:
        if self.waits:
            self.resume()
        self.serving = None
        self.answering = False
        if self.state == ENDED and self.keep:
            self.state = IDLE
            self.moved = self.wheel.clock()
            if (self.unread or self.half_closed) and not self.heading:
                asyncio.get_running_loop().call_soon(self.go_on)
            return
        at_end = self.leaving and self.state == ENDED and not self.unread
        self._forget()
        if at_end:
            self.close()  # the caller said that it sends nothing more
        else:
            self.finish()

    def __repr__(self) -> str:
        return f"<Connection {self.peer.address}:{self.peer.port} {STATES[self.state]}>"
