"""The answering half of a caller's HTTP/1 connection, called by the exchange. Extended by downstream/http1 (reading).

It is the Caller of one exchange at a time. When the answer has ended or was reset, the exchange is forgotten.

What is decided here:
* An answer that begins before the request has ended announces `Connection: close`; what the caller still sends after it
  is thrown away for `linger_seconds` at most, so that it can read the answer.
* A cut answer resets the connection: no caller takes it for complete, not even one that reads until the end.
* Trailers are passed on to whoever speaks chunked; a caller's `TE: trailers` goes up, so the upstream knows.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.http1 import encode
from sidewinder_sidecar.http1.lines import CHUNKED, CLOSE, LENGTH
from sidewinder_sidecar.http1.sending import Sender
from sidewinder_sidecar.wire import OPEN

if TYPE_CHECKING:
    from sidewinder_sidecar.downstream.listener import Listener
    from sidewinder_sidecar.fields import Fields
    from sidewinder_sidecar.messages import Request, Response, Serving

# Where the reading side is. DISCARD: nothing that comes is looked at any more.
IDLE: Final = 0
BODY: Final = 1
ENDED: Final = 2
TUNNEL: Final = 3
DISCARD: Final = 4
STATES: Final = ("idle", "body", "ended", "tunnel", "discard")


class Answering(Sender):
    """A Caller."""

    __slots__ = (
        "answering", "continued", "full", "half_closed", "heading", "keep", "leaving", "listener", "moved", "request",
        "serving", "state", "unread", "waits",
    )  # fmt: skip

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener.proxy.wheel, listener.proxy.limits)
        # for life
        self.listener = listener
        self.moved = 0.0  # when something last happened, by the wheel's clock
        self.half_closed = False  # the caller sends nothing more
        # what is read
        self.state = IDLE
        self.unread = b""  # part of a head, or requests that wait
        self.heading = False  # heads are being read: whoever answers must not start the next
        self.full = False  # too much is unread
        self.waits = False  # the exchange asked to stop
        # the exchange that runs, and its answer
        self.serving: Serving | None = None
        self.request: Request | None = None
        self.keep = True  # the connection outlives the answer
        self.leaving = False  # the caller said that it does not
        self.answering = False
        self.continued = False

    def go_on(self) -> None:
        """The next of the requests that wait."""
        raise NotImplementedError

    def send_informational(self, response: Response) -> None:
        """100 only to who waits for it, no 1xx to HTTP/1.0."""
        request = self.request
        if request is None or not request.minor or self.answering:
            return
        if response.status == 100:
            if not request.expects_continue or self.continued:
                return
            self.continued = True
        self.write(encode.informational(response))

    def send_head(self, response: Response, ended: bool) -> None:
        keep = self.keep and self.state == ENDED and not (response.close or self.listener.proxy.draining)
        if self.half_closed and not self.unread:
            keep = False
        block, ending = encode.response_head(response, ended, self.request, keep)
        self.keep = keep and ending != CLOSE
        self.ending = ending
        self.owed = response.length or 0 if ending == LENGTH and not ended else 0
        self.answering = True
        if ended:
            self.write(block)
            self._on_answered()
        else:
            self.held = block

    def send_data(self, data: bytes) -> bool:
        return self.send_raw(data) if self.state == TUNNEL else self.send_body(data)

    def send_end(self, trailers: Fields | None = None) -> None:
        if self.state == TUNNEL:
            self._end_tunnel()
        elif self.send_last(trailers if self.ending == CHUNKED else None):
            self._on_answered()
        else:
            self._forget()

    def open_tunnel(self, response: Response) -> None:
        if self.request is None:
            return
        self.write(encode.tunnel_head(response, self.request))
        self.tunnel()
        self.state, self.answering = TUNNEL, True
        data, self.unread = self.unread, b""
        if data and self.serving is not None:
            self.serving.on_request_data(data)
        if self.half_closed and self.serving is not None:
            self.serving.on_request_end(None)
        self.go_on()

    def reset(self, error: str) -> None:
        """The answer cannot be finished: no caller may take it for complete."""
        self._forget()
        self.break_off()

    def pause(self) -> None:
        self.waits = True
        if self.wired == OPEN:
            self.transport.pause_reading()

    def resume(self) -> None:
        self.waits = False
        self.moved = self.wheel.clock()
        if self.wired == OPEN and not self.full:
            self.transport.resume_reading()

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

    def _end_tunnel(self) -> None:
        self.answering = False
        if self.half_closed:
            self._forget()
            self.close()
        else:
            self.say_eof()

    def _forget(self) -> None:
        self.serving = None
        self.state = DISCARD
        self.unread = self.held = b""
