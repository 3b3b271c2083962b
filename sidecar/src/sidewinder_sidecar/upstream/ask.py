"""One HTTP question of our own, to a host that a policy names: introspection, an authorization service.

Bounded in time and size, over pooled connections of the data path. Filters ask, who get `ask` through `means`; `main`
makes the Asker beside the fleet. Redirects are not followed: a credential goes where a policy sends it, nowhere else.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias
from urllib.parse import urlsplit

from sidewinder_sidecar.fields import Fields, fields
from sidewinder_sidecar.messages import Failure, Request, Response
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec

if TYPE_CHECKING:
    from sidewinder_sidecar.messages import Attempt
    from sidewinder_sidecar.upstream.endpoint import Endpoint
    from sidewinder_sidecar.wheel import Slot, Wheel

PLACES: Final = 64  # hosts that are asked, with their connections: policies name a handful
AGENT: Final = b"sidewinder-sidecar"
_STALE: Final = "reset_before_request"  # a kept connection that the other side closed just then


class Place(NamedTuple):
    """Whom to ask. `ca`: PEM of who signs its certificate, "" for the system's; `secure`: https."""

    host: str
    port: int
    secure: bool
    ca: str = ""

    @property
    def authority(self) -> bytes:
        """As it stands in Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.secure else 80
        return (host if self.port == usual else f"{host}:{self.port}").encode()


def place(uri: str, ca: str = "") -> tuple[Place, bytes]:
    """The host and the target of an http or https URI. Raises ValueError."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError("an http or https URI such as https://idp.example/introspect is needed")
    secure = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not (target.isascii() and target.isprintable()) or " " in target or not parts.hostname.isascii():
        raise ValueError("a URI is visible ASCII; anything else is percent-encoded")
    return Place(parts.hostname, parts.port or (443 if secure else 80), secure, ca), target.encode()


class Question:
    """What to ask whom. Of the answer's body `most` bytes are taken; of a longer one nothing, or those if `cut`."""

    __slots__ = ("body", "cut", "headers", "method", "most", "place", "target", "timeout")

    def __init__(
        self,
        place: Place,
        target: bytes,
        method: bytes = b"GET",
        headers: tuple[tuple[bytes, bytes], ...] = (),
        body: bytes = b"",
        timeout: float = 2.0,
        most: int = 65536,
        cut: bool = False,
    ) -> None:
        self.place = place
        self.target = target
        self.method = method
        self.headers = headers
        self.body = body
        self.timeout = timeout
        self.most = most
        self.cut = cut

    def __repr__(self) -> str:
        """Without target, headers and body: they hold credentials."""
        return f"<Question {self.method.decode('latin-1')} {self.place.host}:{self.place.port}>"


class Answer:
    """What came back. `error` says why nothing did, for the log; "" if something did."""

    __slots__ = ("body", "error", "fields", "status")

    def __init__(self, status: int, fields: Fields, body: bytes = b"", error: str = "") -> None:
        self.status = status
        self.fields = fields
        self.body = body
        self.error = error

    def __repr__(self) -> str:
        return f"<Answer {self.status} {len(self.body)} bytes {self.error}>"


class Asking(Protocol):
    """A question on its way."""

    def cancel(self) -> None: ...  # after it returns, `done` is never called


# ask(question, done): done(answer) is called once, later, never from inside.
Done: TypeAlias = Callable[[Answer], None]
Ask: TypeAlias = Callable[[Question, Done], Asking]


class Asker:
    """Keeps an endpoint for each place, with its pooled connections; the one used longest ago makes room."""

    __slots__ = ("_make", "_places", "_wheel")

    def __init__(self, wheel: Wheel, make: Callable[[EndpointSpec, float], Endpoint]) -> None:
        self._wheel = wheel
        self._make = make
        self._places: OrderedDict[Place, Endpoint] = OrderedDict()

    def ask(self, question: Question, done: Done) -> Asking:
        """Ask. `done` hears of it once, later."""
        return _Asking(self._endpoint(question), question, done, self._wheel)

    def _endpoint(self, question: Question) -> Endpoint:
        place = question.place
        endpoint = self._places.get(place)
        if endpoint is None:
            spec = EndpointSpec(
                uid=place.host,
                address=place.host,
                port=place.port,
                server_name=place.host if place.secure else "",
                trust=place.ca,
            )
            self._places[place] = endpoint = self._make(spec, question.timeout)
            while len(self._places) > PLACES:
                self._places.popitem(last=False)[1].retire()
        self._places.move_to_end(place)
        return endpoint

    def close(self) -> None:
        """The process ends."""
        while self._places:
            self._places.popitem()[1].retire()

    def __repr__(self) -> str:
        return f"<Asker {len(self._places)} places>"


class _Asking:
    """One question: the Receiver of its attempt, and its time limit."""

    __slots__ = ("attempt", "body", "done", "endpoint", "question", "response", "slot", "tried")

    def __init__(self, endpoint: Endpoint, question: Question, done: Done, wheel: Wheel) -> None:
        self.endpoint = endpoint
        self.question = question
        self.done: Done | None = done  # None: told, or nobody wants to know
        self.response: Response | None = None
        self.body = bytearray()
        self.tried = 0
        self.attempt: Attempt | None = None
        self.slot: Slot = wheel.at(wheel.clock() + question.timeout, self)
        self._try()

    def _try(self) -> None:
        question = self.question
        self.tried += 1
        rows = (
            (b"Host", question.place.authority),
            (b"User-Agent", AGENT),
            *question.headers,
        )
        request = Request(question.method, question.target, question.place.authority, fields(*rows), len(question.body))
        try:
            self.attempt = attempt = self.endpoint.open(request, self)
        except ValueError as fault:  # a header that cannot be sent: what a caller sent was judged, so it is ours
            asyncio.get_running_loop().call_soon(self._fail, f"the question cannot be sent: {fault}")
            return
        if question.body:
            attempt.send_data(question.body)
            attempt.send_end()

    def cancel(self) -> None:
        """Nobody wants to know any more."""
        self.done = None
        self.slot.discard(self)
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.cancel("cancelled")

    def on_time(self, now: float) -> None:
        """The wheel: the time is over."""
        self._fail(f"no answer within {self.question.timeout:g} s")

    def _tell(self, answer: Answer) -> None:
        done = self.done
        self.cancel()
        if done is not None:
            done(answer)

    def _fail(self, error: str) -> None:
        self._tell(Answer(0, fields(), b"", error))

    # What the attempt tells.

    def on_informational(self, response: Response) -> None:
        """100 or 103: nothing to us."""

    def on_response(self, response: Response, body: bytes | None) -> None:
        """The head, and the whole body if it came with it."""
        self.response = response
        if body is not None:
            self._take(body)
            self.on_end(None)

    def on_data(self, data: bytes) -> None:
        """A part of the body."""
        if not self._take(data):
            self._complete()

    def _take(self, data: bytes) -> bool:
        """Whether there is still room."""
        self.body += data[: self.question.most + 1 - len(self.body)]
        return len(self.body) <= self.question.most

    def on_end(self, trailers: Fields | None) -> None:
        """The answer is whole."""
        self.attempt = None
        self._complete()

    def _complete(self) -> None:
        """As much of the answer is here as is wanted."""
        response, body = self.response, bytes(self.body)
        assert response is not None
        if len(body) > self.question.most:
            if not self.question.cut:
                return self._fail(f"the answer is longer than {self.question.most} bytes")
            body = body[: self.question.most]
        self._tell(Answer(response.status, response.fields, body))

    def on_tunnel(self, response: Response) -> None:
        """Nobody asked for one."""
        self._fail("the answer changes protocols")

    def on_failure(self, failure: Failure) -> None:
        """No whole answer. A kept connection that had died is no reason: once more."""
        self.attempt = None
        self.response = None
        self.body.clear()
        if failure.error == _STALE and self.tried <= 2 and self.done is not None:
            return self._try()
        self._fail(failure.detail or failure.error)

    def on_writable(self) -> None:
        """The whole question went at once."""

    def __repr__(self) -> str:
        return f"<Asking {self.question!r}>"
