"""An HTTP/1 connection to an upstream: requests to bytes, bytes to answers. Pooled by endpoint, for one try at a time.

The connection goes back to its pool only when its answer has ended, the request too, every byte received was the
answer's, and both sides may keep it; else it is closed.

Nothing buffers here but an unfinished head (`limits.header_bytes`) and one chunk's line; unsent bytes as in `wire`. How
long an answer may take or stand still is the exchange's to say: it cancels.

A connection that was used before and dies without a byte of an answer is the usual case of a pooled connection which
the upstream closed just then (RFC 9112 section 9.3.1): stage UNSENT, `reset_before_request`; whether the method may be
sent again is the exchange's to say. A fresh one has no such excuse: SENT, `reset`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.errors import UpstreamError
from sidewinder_sidecar.http1 import response_head
from sidewinder_sidecar.http1.framing import BadFraming, Chunked
from sidewinder_sidecar.http1.lines import CHUNKED, CLOSE, END, LENGTH, NONE, Seen
from sidewinder_sidecar.http1.sending import Sender
from sidewinder_sidecar.messages import ANSWERING, CONNECT, SENT, UNSENT
from sidewinder_sidecar.tls.keyring import REFUSED, failure
from sidewinder_sidecar.wire import OPEN, jittered

if TYPE_CHECKING:
    from sidewinder_sidecar.fields import Fields
    from sidewinder_sidecar.messages import Response
    from sidewinder_sidecar.upstream.endpoint import Attempt, Endpoint

REST_SECONDS: Final = 60.0  # as many proxies have it; another proxy of the mesh waits 75 s, or says that it does not
MOST_INFORMATIONAL: Final = 8  # 1xx before one answer: 100, 102 and 103 are all there is; Go's client stops at 5

# What the reading side waits for. An answer's body is read by its ending.
IDLE: Final = 0
HEAD: Final = 1
BY_LENGTH: Final = 2
BY_CHUNKS: Final = 3
BY_CLOSE: Final = 4
TUNNEL: Final = 5
_STATES: Final = ("idle", "head", "length", "chunks", "close", "tunnel")


class Connection(Sender):
    """One connection to one endpoint."""

    __slots__ = ("ages_at", "answering", "attempt", "chunks", "early", "endpoint", "epoch", "idle_seconds", "informed",
                 "keep", "left", "most_idle", "seen", "since", "spent", "state", "unread", "used", "waits")  # fmt: skip

    def __init__(self, endpoint: Endpoint, attempt: Attempt | None) -> None:
        """`attempt` is what the connection is made for."""
        super().__init__(endpoint.wheel, endpoint.limits)
        # for life
        self.endpoint = endpoint
        self.epoch = 0  # of the certificate that it was made with
        self.spent = False  # it is not to be kept
        self.ages_at = inf
        self.used = 0  # answers so far
        self.since = 0.0  # when it became idle
        self.seen = Seen()
        self.early = False  # made before it was needed
        self.idle_seconds = endpoint.limits.upstream_idle_seconds
        self.most_idle = REST_SECONDS  # of idleness, as far as the endpoint lets it rest
        # the attempt that runs
        self.attempt = attempt
        self.state = IDLE
        self.answering = False  # the answer's head has been told
        self.informed = 0  # 1xx so far
        self.keep = True
        self.waits = False  # the exchange asked to stop
        self.left = 0  # bytes of a body of known length
        self.chunks: Chunked | None = None
        self.unread = b""  # part of a head

    @property
    def tunnels(self) -> bool:
        return self.state == TUNNEL

    # The endpoint and the attempt call.

    def start(self, attempt: Attempt) -> None:
        """Send a request. Calls nobody back."""
        self.attempt = attempt
        attempt.connection = self
        self.state = HEAD
        self.answering = False
        self.informed = 0
        request = attempt.request
        if request.length == 0:
            self.write(attempt.head)
            return
        self.held = attempt.head
        self.ending = CHUNKED if request.length is None else LENGTH
        self.owed = request.length or 0
        if attempt.pending:
            data, attempt.pending = b"".join(attempt.pending), None
            self.send_body(data)
        elif request.expects_continue:
            self.send_body(b"")  # the body waits for the answer to this
        if attempt.ended:
            self.send_end(attempt.trailers)

    def send_data(self, data: bytes) -> bool:
        return self.send_raw(data) if self.state == TUNNEL else self.send_body(data)

    def send_end(self, trailers: Fields | None) -> None:
        if self.state != TUNNEL:
            self.send_last(trailers)
        elif not self.keep:  # the upstream has ended already
            self._leave()
            self.close()
        else:
            self.say_eof()

    def pause(self) -> None:
        self.waits = True
        if self.wired == OPEN:
            self.transport.pause_reading()

    def resume(self) -> None:
        self.waits = False
        if self.wired == OPEN:
            self.transport.resume_reading()

    def abandon(self) -> None:
        """The exchange wants no answer: the connection cannot be used again."""
        self._leave()
        self.abort()

    # The answer comes in.

    def data_received(self, data: bytes) -> None:
        state = self.state
        attempt = self.attempt
        if attempt is None or attempt.receiver is None:
            if self.wired == OPEN:  # nobody asked
                self.close()
        elif state == HEAD:
            self._on_head(data, attempt)
        elif state == BY_LENGTH:
            self._on_counted(data, attempt)
        elif state == BY_CHUNKS:
            self._on_chunks(data, attempt)
        else:
            attempt.receiver.on_data(data)

    def _on_head(self, data: bytes, attempt: Attempt) -> None:
        judged = len(self.unread)
        if judged:
            data = self.unread + data
            self.unread = b""
        while True:
            end = data.find(END, judged - 3 if judged > 3 else 0) + 4
            if end == 3:
                if found := response_head.fault(data, self.limits, judged):
                    self._fail(*found)
                else:
                    self.unread = data
                return
            block, rest = (data, b"") if end == len(data) else (data[:end], data[end:])
            try:
                if block != (seen := response_head.newest.seen).block:
                    self.seen = response_head.newest.seen = seen = response_head.recall(block, self.seen)
                answer, keep, ending = response_head.parse(block, attempt.request.method, self.limits, seen)
            except UpstreamError as fault:
                self._fail(fault.error, fault.detail)
                return
            if answer.status >= 200:
                break
            if not self._on_informational(answer, block, rest, attempt) or not rest:
                return
            data, judged = rest, 0
        if not self.used:  # the first answer tells, not every one
            self._look_at_keep_alive(block)
        self.keep = keep
        self._on_answer(answer, ending, rest, attempt)

    def _on_answer(self, answer: Response, ending: int, rest: bytes, attempt: Attempt) -> None:
        receiver = attempt.receiver
        assert receiver is not None
        if ending == LENGTH:
            self.left = length = answer.length or 0
            if length == len(rest):  # all of it came with the head
                self._on_complete(attempt, b"")
                receiver.on_response(answer, rest)
                return
            if not length:
                ending = NONE
        if ending == NONE:
            self._on_complete(attempt, rest)
            receiver.on_response(answer, b"")
            return
        self.answering = True
        self.state = BY_LENGTH if ending == LENGTH else BY_CLOSE if ending == CLOSE else BY_CHUNKS
        self.chunks = Chunked() if ending == CHUNKED else None
        receiver.on_response(answer, None)
        if attempt.connection is not self:
            return
        if ending == LENGTH:
            self._on_counted(rest, attempt)
        elif ending == CHUNKED:
            self._on_chunks(rest, attempt)
        else:
            receiver.on_data(rest)

    def _on_counted(self, data: bytes, attempt: Attempt) -> None:
        """A part of a body of known length; b"" lets a head go that came alone."""
        receiver = attempt.receiver
        assert receiver is not None
        self.left = left = self.left - len(data)
        if left > 0:
            receiver.on_data(data)
            return
        rest = b""
        if left < 0:
            data, rest = data[:left], data[left:]
        receiver.on_data(data)
        if attempt.connection is self:
            self._on_complete(attempt, rest)
            receiver.on_end(None)

    def _on_chunks(self, data: bytes, attempt: Attempt) -> None:
        chunks, receiver = self.chunks, attempt.receiver
        assert chunks is not None
        assert receiver is not None
        try:
            body = chunks.feed(data)
        except BadFraming as fault:
            self._fail("upstream_protocol", str(fault))
            return
        if body or not chunks.ended:  # nothing yet: the head must not wait for it
            receiver.on_data(body)
        if chunks.ended and attempt.connection is self:
            self.chunks = None
            self._on_complete(attempt, chunks.rest)
            receiver.on_end(chunks.trailers)

    def _on_informational(self, answer: Response, block: bytes, rest: bytes, attempt: Attempt) -> bool:
        """Whether to go on."""
        receiver, request = attempt.receiver, attempt.request
        assert receiver is not None
        self.informed += 1
        if answer.status == 101:
            if not request.upgrade or response_head.upgraded(block) != request.upgrade:
                self._fail("upgrade_failed", "the upstream changed to a protocol that was not asked for")
                return False
            self.state = TUNNEL
            self.answering = True
            self.tunnel()
            receiver.on_tunnel(answer)
            if rest and attempt.connection is self:
                receiver.on_data(rest)
            return False
        if self.informed > MOST_INFORMATIONAL:
            self._fail("upstream_protocol", f"more than {MOST_INFORMATIONAL} informational answers")
            return False
        receiver.on_informational(answer)
        return attempt.connection is self

    def _look_at_keep_alive(self, block: bytes) -> None:
        """An upstream that says when it will close is closed before."""
        said = response_head.keep_alive_seconds(block)
        if said is not None:
            self.most_idle = min(REST_SECONDS, max(said - 1, said / 2))
            self.idle_seconds = min(self.idle_seconds, self.most_idle)
            self.wake(min(self.wheel.clock() + self.idle_seconds, self.ages_at))

    def _on_complete(self, attempt: Attempt, rest: bytes) -> None:
        """The answer is whole: back to the pool, or closed. Before its receiver hears, who may want the next."""
        attempt.connection = attempt.receiver = None
        self.attempt = None
        endpoint = self.endpoint
        endpoint.active -= 1
        if not (self.keep and attempt.ended and not rest and self.wired == OPEN and not endpoint.retired) or (
            self.spent or (self.secure and self._is_over())
        ):
            self.state = IDLE
            self.close()
            return
        self.state = IDLE
        self.used += 1
        self.since = self.wheel.clock()
        if self.waits:
            self.resume()
        if self.secure and endpoint.dials:
            endpoint.rest(self)
        else:
            endpoint.idle.append(self)

    def _is_over(self) -> bool:
        """Over TLS a connection lives no longer than the certificate that it was made with."""
        return self.endpoint.identity != "" and self.epoch != self.endpoint.keyring.epoch

    def drain(self) -> None:
        """Close, after the answer that it waits for."""
        self.spent = True
        if self.state == IDLE and self.attempt is None:
            self.endpoint.forget(self)
            self.close()

    def _leave(self) -> None:
        """Forget the attempt, which is over."""
        attempt, self.attempt = self.attempt, None
        if attempt is not None and attempt.connection is self:
            attempt.connection = attempt.receiver = None
            self.endpoint.active -= 1

    # Or something else happens.

    def _fail(self, error: str, detail: str) -> None:
        attempt, self.attempt = self.attempt, None
        self.abort()
        if attempt is not None:
            attempt.fail(ANSWERING if self.answering else SENT, error, detail)

    def eof_received(self) -> bool:
        """Whether the connection stays open for our side."""
        attempt = self.attempt
        if attempt is None or attempt.receiver is None:
            return False
        if self.state == BY_CLOSE:
            receiver = attempt.receiver
            self.keep = False
            self._on_complete(attempt, b"")
            receiver.on_end(None)
        elif self.state == TUNNEL:
            said = self.said_eof or not self.halves
            receiver = attempt.receiver
            self.keep = False
            if said:
                self._leave()
            receiver.on_end(None)
            return not said
        return False

    def on_open(self) -> None:
        self.since = now = self.wheel.clock()
        self.ages_at = now + jittered(self.limits.upstream_age_seconds)
        self.wake(min(now + self.idle_seconds, self.ages_at))
        attempt, self.attempt = self.attempt, None
        if attempt is None:  # nobody waits for it any more
            self.early = True
            self.endpoint.rest(self)
        elif attempt.receiver is None:
            self.abort()  # cancelled in the very turn in which it connected
        else:
            self.take(attempt)

    def take(self, attempt: Attempt) -> None:
        """Carry a try that has waited for a connection."""
        self.start(attempt)
        if not attempt.ended:  # it was told to stop while there was no connection
            self.send_body(b"")
            if self.room and attempt.receiver is not None:
                attempt.receiver.on_writable()

    def on_lost(self, error: Exception | None) -> None:
        attempt, self.attempt = self.attempt, None
        if attempt is None:
            self.endpoint.forget(self)
        elif self.answering:
            attempt.fail(ANSWERING, "incomplete", f"the connection ended in the middle of the answer{_why(error)}")
        elif not self.used and error is not None and failure(error)[0] == REFUSED:  # so no request was read
            attempt.fail(CONNECT, "tls_failed", "the other side does not take our certificate")
        elif (self.used or self.early) and not self.unread and not self.informed:
            attempt.fail(UNSENT, "reset_before_request", f"a kept connection was closed{_why(error)}")
        else:
            attempt.fail(SENT, "reset", f"the connection ended before the answer{_why(error)}{self._doubt()}")

    def _doubt(self) -> str:
        """In TLS 1.3 we have sent a request before the other side has judged our certificate."""
        return "; the proxy there may have refused our certificate" if self.endpoint.identity and not self.used else ""

    def on_writable(self) -> None:
        if self.attempt is not None and self.attempt.receiver is not None:
            self.attempt.receiver.on_writable()

    def on_due(self, now: float) -> None:
        if now >= self.ages_at:
            self.ages_at = inf
            self.drain()
            if self.wired != OPEN:
                return
        due = self.endpoint.rests_until(self, now) if self.state == IDLE else now + self.idle_seconds
        if now < due:
            self.wake(min(due, self.ages_at))
        else:
            self.endpoint.forget(self)
            self.close()

    def __repr__(self) -> str:
        return (
            f"<Connection {self.endpoint.address[0]}:{self.endpoint.address[1]} {_STATES[self.state]} {self.used} used>"
        )


def _why(error: Exception | None) -> str:
    return f" ({error.strerror or error})" if isinstance(error, OSError) else ""
