"""One copy of a request: collected while the original passes, sent when it is whole, its answer thrown away.

The filter makes it; it taps the original's exchange and is the receiver of its own attempt, and each may end first.
Nothing that happens to it is told to the exchange. With `compare` both answers are read into `answer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.filters.mirror.answer import MOST_READ, Answer, differences
from sidewinder_sidecar.messages import UNSENT, Call, Failure, Request, Response
from sidewinder_sidecar.telemetry import redact

if TYPE_CHECKING:
    from sidewinder_sidecar.fields import Fields
    from sidewinder_sidecar.filters.mirror.pace import Pace
    from sidewinder_sidecar.filters.mirror.tally import Tally
    from sidewinder_sidecar.filters.site import Open
    from sidewinder_sidecar.messages import Attempt
    from sidewinder_sidecar.wheel import Slot, Wheel

MOST_BODY: Final = 65536  # bytes of a request's body, as much as a retry keeps; a larger one is not mirrored
LIMIT: Final = 15.0  # seconds from sending a copy to the end of both answers; what waits longer helps nobody

COLLECTING: Final = 0  # the request comes
DUE: Final = 1  # it is whole; the next turn of the wheel sends it
RUNNING: Final = 2
WAITING: Final = 3  # answered; the original is not, and both are to be compared
OVER: Final = 4


class Sender:
    """What the copies of one filter share. `in_flight` are collected, on their way, or wait to be compared."""

    __slots__ = ("in_flight", "open", "pace", "tally")

    def __init__(self, send: Open, tally: Tally, pace: Pace) -> None:
        self.open = send
        self.tally = tally
        self.pace = pace
        self.in_flight = 0

    def __repr__(self) -> str:
        return f"<Sender {self.in_flight} in flight {self.tally!r}>"


class Shadow:
    """See the module. `own` and `original` are None where nothing is compared."""

    __slots__ = (
        "_attempt", "_body", "_of", "_original", "_own", "_read", "_redaction", "_request", "_sender", "_size", "_slot",
        "_state", "_tried", "_wheel",
    )  # fmt: skip

    def __init__(self, sender: Sender, request: Request, call: Call, wheel: Wheel, compare: bool) -> None:
        self._sender = sender
        self._request = request
        self._of = call.request.method, call.request.path, call.request_id  # for a sample
        self._redaction = redact.of(call.attributes)
        self._wheel = wheel
        self._own = Answer() if compare else None
        self._original = Answer() if compare else None
        self._body = bytearray()  # one piece: a list of many small ones would be many times their size
        self._size = 0  # of the request's body
        self._read = 0  # of the answer's
        self._state = COLLECTING
        self._tried = 0
        self._attempt: Attempt | None = None
        self._slot: Slot | None = None

    # The original: what the exchange lets us hear.

    def send_data(self, data: bytes) -> bool:
        """A part of the request's body."""
        if self._state == COLLECTING:
            self._size += len(data)
            if self._size > MOST_BODY:
                self._settle("too_large")
            else:
                self._body += data
        return True

    def send_end(self, trailers: Fields | None = None) -> None:
        """The request is whole. It is not sent from here: the original's own way goes first."""
        if self._state == COLLECTING:
            self._request.length = self._size
            self._state = DUE
            self._slot = self._wheel.at(self._wheel.clock(), self)

    def answer(self, response: Response, body: bytes | None) -> None:
        """What the original's upstream says."""
        if (original := self._original) is not None:
            original.head(response)
            if body is not None:
                original.data(body)

    def answer_data(self, data: bytes) -> None:
        """A part of it."""
        if self._original is not None:
            self._original.data(data)

    def over(self, error: str) -> None:
        """The original has ended. A request that was not whole by then is no request."""
        if self._state == COLLECTING:
            return self._settle("left")
        if self._original is not None:
            self._original.end(error)
            if self._state == WAITING:
                self._compare()

    # Time.

    def on_time(self, now: float) -> None:
        """The wheel: send it, or give up."""
        if self._state == DUE:
            self._state = RUNNING
            self._slot = self._wheel.at(now + LIMIT, self)
            self._open()
        elif self._state == RUNNING:
            self._settle("late")
        elif self._state == WAITING:
            self._compare()

    def _open(self) -> None:
        self._tried += 1
        try:
            self._attempt = attempt = self._sender.open(self._request, self)
        except ValueError:  # a filter has written what cannot be sent: the original says so, too
            return self._settle("failed")
        if attempt is None:
            return self._settle("no_endpoints")
        if self._size:
            attempt.send_data(bytes(self._body))
            attempt.send_end()

    # The copy: what its attempt tells.

    def on_informational(self, response: Response) -> None:
        """100 or 103: nothing to us."""

    def on_response(self, response: Response, body: bytes | None) -> None:
        """The head, and the whole body if it came with it."""
        if self._own is not None:
            self._own.head(response)
        if body is not None:
            if self._own is not None:
                self._own.data(body)
            self.on_end(None)

    def on_data(self, data: bytes) -> None:
        """A part of the answer. More than anybody compares is not waited for."""
        self._read += len(data)
        if self._own is not None:
            self._own.data(data)
        if self._read > MOST_READ:
            self._settle("answered")
        elif not self._sender.pace.read(len(data), self) and self._attempt is not None:
            self._attempt.pause()

    def go_on(self) -> None:
        """It may be read again."""
        if self._attempt is not None:
            self._attempt.resume()

    def on_end(self, trailers: Fields | None) -> None:
        """The answer is whole."""
        self._attempt = None
        self._settle("answered")

    def on_tunnel(self, response: Response) -> None:
        """Nobody asked for one."""
        self._settle("failed")

    def on_failure(self, failure: Failure) -> None:
        """No whole answer. A kept connection that had died is no reason: once more, for it is the proxy's own."""
        self._attempt = None
        if failure.stage == UNSENT and self._tried == 1:
            return self._open()
        self._settle("failed")

    def on_writable(self) -> None:
        """The whole body went at once."""

    # The end.

    def _settle(self, result: str) -> None:
        """What became of the copy is known; it lets go of everything but the two answers."""
        self._sender.tally.count(result)
        self._body = bytearray()
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel("mirrored")
        original, own = self._original, self._own
        if result != "answered" or original is None or own is None:
            return self._close()
        own.end("")
        self._state = WAITING
        if original.ended:
            self._compare()

    def _compare(self) -> None:
        original, own = self._original, self._own
        assert original is not None
        assert own is not None
        tally = self._sender.tally
        if original.whole:
            tally.compared(differences(original, own, self._redaction), *self._of)
        else:
            tally.uncompared()
        self._close()

    def _close(self) -> None:
        self._state = OVER
        self._original = self._own = None
        self._sender.in_flight -= 1
        if self._slot is not None:
            self._slot.discard(self)
            self._slot = None

    def __repr__(self) -> str:
        state = ("collecting", "due", "running", "waiting", "over")[self._state]
        return f"<Shadow {self._request!r} {state} {self._size} bytes>"
