"""What a caller's HTTP/1 connection does off the common way: tunnels, interim answers, callers that are slow, gone or
one too many, draining. Extended by `http1`, which reads a request and writes its answer.

What is decided here:
* A caller that half-closes after its request is still answered. A FIN is also all that is seen of one that has left: an
  answer that has not begun `linger_seconds` later is given up.
* A cut answer resets the connection: no caller takes it for complete, not even one that reads until the end.
* A connection past its age says `Connection: close` with its next answer; where nobody asks any more, it idles out. So
  nothing is lost: no caller sends into a connection that we are closing.
* A caller that waits for 100 gets one, HTTP/1.0 no 1xx.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar import errors
from sidewinder_sidecar.exchange import NAME
from sidewinder_sidecar.http1 import encode
from sidewinder_sidecar.http1.sending import Sender
from sidewinder_sidecar.wire import OPEN

if TYPE_CHECKING:
    from sidewinder_sidecar.downstream.listener import Listener
    from sidewinder_sidecar.messages import Peer, Request, Response, Serving

# Where the reading side is. DISCARD: nothing that comes is looked at any more.
IDLE: Final = 0
BODY: Final = 1
ENDED: Final = 2
TUNNEL: Final = 3
DISCARD: Final = 4
STATES: Final = ("idle", "body", "ended", "tunnel", "discard")


class Detour(Sender):
    """State of a connection, and what a common request never asks for."""

    __slots__ = (
        "aged", "ages_at", "answering", "brief", "continued", "full", "half_closed", "head_since", "heading", "keep",
        "leaving", "listener", "moved", "peer", "request", "serving", "state", "unread", "waits",
    )  # fmt: skip

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener.proxy.wheel, listener.proxy.limits)
        # for life
        self.listener = listener
        self.peer: Peer
        self.moved = 0.0  # when something last happened, by the wheel's clock
        self.half_closed = False  # the caller sends nothing more
        self.aged = False  # its next answer is its last
        self.ages_at = inf
        self.brief = 0  # seconds that it waits for a request, once to be told; 0: as long as callers think
        # what is read
        self.state = IDLE
        self.unread = b""  # part of a head, or requests that wait
        self.head_since = 0.0  # when an unfinished head began
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

    def _refuse(self, error: str, detail: str) -> None:
        """Not even a request."""
        raise NotImplementedError

    # The exchange's pace, interim answers, answers that break off.

    def pause(self) -> None:
        self.waits = True
        if self.wired == OPEN:
            self.transport.pause_reading()

    def resume(self) -> None:
        self.waits = False
        self.moved = self.wheel.clock()
        if self.wired == OPEN and not self.full:
            self.transport.resume_reading()

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

    def reset(self, error: str) -> None:
        """The answer cannot be finished: no caller may take it for complete."""
        self._forget()
        self.break_off()

    # A tunnel.

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

    def _end_tunnel(self) -> None:
        self.answering = False
        if self.half_closed:
            self._forget()
            self.close()
        else:
            self.say_eof()

    def _on_tunnel_half_closed(self) -> bool:
        serving = self.serving
        self.half_closed = True
        if serving is not None:
            serving.on_request_end(None)
        if self.answering:  # until our end is said
            return True
        self.serving = None
        return False

    # A caller that half-closes, is slow, wrong, or one too many.

    def eof_received(self) -> bool:
        """Whether the connection stays open for our side."""
        if self.wired != OPEN or self.state == IDLE:
            return False
        if not self.halves:  # the end of both ways: nothing can be answered any more
            self._leave("caller_gone")
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

    def on_due(self, now: float) -> None:
        """One look at the clock for every way of being slow; an exchange that is stuck sees to itself."""
        limits = self.limits
        if now >= self.ages_at:
            self.aged, self.ages_at = True, inf
        if self.state == IDLE:
            due = self.head_since + limits.head_seconds if self.head_since else self.moved + limits.idle_seconds
        elif self.state == ENDED and self.half_closed and not self.answering:
            due = self.moved + limits.linger_seconds
        elif self.state == BODY and not self.waits:
            due = self.moved + limits.stall_seconds
        else:
            due = now + min(limits.stall_seconds, limits.idle_seconds)
        if now < due:
            self.wake(min(due, self.ages_at))
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

    def _cut_short(self, error: str, detail: str) -> None:
        """A body that cannot go on: answered, or the answer that runs is cut."""
        self.keep = False
        self.unread = b""
        if self.serving is not None:
            self.serving.refuse(error, detail, None)

    def _turn_away(self) -> None:
        self.state = DISCARD
        detail = f"the proxy has {self.limits.connections} connections already"
        response, body = errors.render(errors.refusal("overloaded", detail), None, NAME)
        self.listener.turned_away += 1
        self.write(encode.response_head(response, body, None, False)[0] + body)
        self.finish()

    # The end.

    def drain(self) -> None:
        """End when what runs has ended."""
        self.keep = False
        if self.state == IDLE and not self.unread:
            self.finish()

    def _leave(self, error: str) -> None:
        """Tell the exchange that there is nobody any more, and forget it."""
        serving, self.serving = self.serving, None
        self.state = DISCARD
        self.unread = self.held = b""
        if serving is not None:
            serving.on_caller_gone(error)

    def _forget(self) -> None:
        self.serving = None
        self.state = DISCARD
        self.unread = self.held = b""
