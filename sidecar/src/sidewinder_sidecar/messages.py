"""The vocabulary between the levels of the data path. Every level speaks it, so arrows never turn back.

Downstream streams are Callers and drive a Serving; the exchange is Serving and Receiver; endpoints return Attempts.
Nothing here knows HTTP/1, sockets or configuration. Nothing is called back from inside `open`: what fails, fails later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from sidewinder_sidecar.fields import Fields

NAMELESS: Final = ("", 0)


class Peer:
    """Who is on the other end of a downstream connection; made once per connection."""

    __slots__ = ("address", "client", "decision", "destination", "encoded", "expires", "identity", "port", "secure")

    def __init__(self, address: str = "", port: int = 0, secure: bool = False, identity: str = "") -> None:
        self.address = address  # of the socket's other end: IP literal, "" for a Unix socket
        self.port = port
        self.secure = secure  # TLS
        self.identity = identity  # SPIFFE ID, once there is mTLS
        self.expires = 0.0  # when the certificate of that identity ends; 0.0: there is none
        self.client = address  # who is behind that end, by PROXY protocol; without it the same
        self.encoded = address.encode()  # of `client`: what the upstream and the log are told
        self.decision = ""  # as in Call: what let a connection pass that is relayed
        # Where a redirected connection wanted to go; None: the listener is not transparent, NAMELESS: nobody knows.
        self.destination: tuple[str, int] | None = None

    def stands_for(self, client: str) -> None:
        """What a PROXY protocol header says: the other end only passes on what `client` sends."""
        self.client = client
        self.encoded = client.encode()

    def __repr__(self) -> str:
        return f"<Peer {self.address}:{self.port}{' ' + self.identity if self.identity else ''}>"


class Relayed:
    """What telemetry sees of a connection that is relayed as it is; one for each. `downstream/flow` adds the machinery.

    Times are monotonic seconds, 0.0 for not yet.
    """

    __slots__ = (
        "address", "backend", "bytes_in", "bytes_out", "connected", "decision", "detail", "ended", "error", "host",
        "listener", "peer", "protocol", "retries", "service", "started",
    )  # fmt: skip

    def __init__(self, listener: str, peer: Peer, started: float) -> None:
        self.listener = listener
        self.peer = peer
        self.protocol = ""  # as far as the first bytes tell: "TCP", "TLS", "HTTP/2", "HTTP proxy"; "" if none came
        self.host = ""  # the name that a TLS caller asked for
        self.service = ""  # that was called, "" if none
        self.backend = ""  # the backend's service name, "" before there was one
        self.address = NAMELESS  # of the endpoint last tried
        self.started = started
        self.connected = 0.0
        self.ended = 0.0
        self.bytes_in = 0  # from the caller
        self.bytes_out = 0
        self.retries = 0  # endpoints that could not be connected to before another was tried
        self.error = ""  # key of errors.TABLE, "" when both sides ended by themselves
        self.detail = ""
        self.decision = ""  # as in Call


class Request:
    """A request's head. `target` is what goes upstream (origin form), `received` what the caller asked for.

    `length` is the body's size in bytes, None when only its end will tell. Hop-by-hop fields are gone from `fields`
    already.
    `upgrade` is the protocol of a tunnel asked for (b"websocket"; b"connect" for CONNECT), b"" otherwise.
    """

    __slots__ = (
        "authority",
        "expects_continue",
        "fields",
        "length",
        "method",
        "minor",
        "path",
        "query",
        "received",
        "scheme",
        "target",
        "upgrade",
    )

    def __init__(self, method: bytes, target: bytes, authority: bytes, fields: Fields, length: int | None = 0) -> None:
        self.method = method
        self.target = self.received = target
        self.path, _, self.query = target.partition(b"?")
        self.authority = authority  # host[:port], lower case; where the request is for
        self.scheme = b"http"
        self.fields = fields
        self.length = length
        self.minor = 1  # HTTP/1.minor as received
        self.expects_continue = False
        self.upgrade = b""

    def __repr__(self) -> str:
        """Without the query and the values: they may be secret."""
        return f"<Request {self.method.decode('latin-1')} {self.path.decode('latin-1')}>"


class Response:
    """A response's head. `length` as in Request; `reason` is HTTP/1's phrase, b"" where there is none.

    `close`: the caller's connection ends with this answer (the error table says so).
    """

    __slots__ = ("close", "fields", "length", "reason", "status")

    def __init__(self, status: int, fields: Fields, length: int | None = None, reason: bytes = b"") -> None:
        self.status = status
        self.fields = fields
        self.length = length
        self.reason = reason
        self.close = False

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


class Reply:
    """An answer the proxy gives itself: by a filter (policy, redirect) or from the error table.

    `error` is a key of errors.TABLE or "" for an answer that is no refusal (redirect, direct response); `detail` is
    for a person, goes into Proxy-Status and the access log. A body of None is filled from error and detail by Accept.
    A status of 0 is no answer: the caller's connection is reset.
    `decision` is the policy's rule that wants this, for the access log and for nobody else.
    """

    __slots__ = ("body", "decision", "detail", "error", "fields", "status")

    def __init__(
        self,
        status: int,
        error: str = "",
        detail: str = "",
        fields: tuple[tuple[bytes, bytes], ...] = (),
        body: bytes | None = None,
        decision: str = "",
    ) -> None:
        self.status = status
        self.error = error
        self.detail = detail
        self.fields = fields
        self.body = body
        self.decision = decision

    def __repr__(self) -> str:
        return f"<Reply {self.status} {self.error}>"


class Wait:
    """The verdict of a filter that has gone to ask: it set call.waiting_on and resumes later, never at once."""

    __slots__ = ()


WAIT: Final = Wait()

# How far a request came before its attempt failed; decides what may be retried.
CONNECT: Final = "connect"  # no connection; nothing was sent
UNSENT: Final = "unsent"  # a connection, but not a byte of this request was read by the other side
REFUSED: Final = "refused"  # the other side says it did not process it (GOAWAY, REFUSED_STREAM)
SENT: Final = "sent"  # sent in part or whole, no byte of an answer
ANSWERING: Final = "answering"  # an answer had begun


class Failure:
    """Why an attempt ended without a whole answer. `error` is a key of errors.TABLE."""

    __slots__ = ("detail", "error", "stage")

    def __init__(self, stage: str, error: str, detail: str = "") -> None:
        self.stage = stage
        self.error = error
        self.detail = detail

    def __repr__(self) -> str:
        return f"<Failure {self.error} {self.stage} {self.detail}>"


class Try:
    """One attempt at an endpoint, kept for sampled calls: becomes a client span. Times are monotonic seconds."""

    __slots__ = ("address", "ended", "error", "span_id", "started", "status")

    def __init__(self, address: tuple[str, int], started: float, span_id: bytes) -> None:
        self.address = address
        self.started = started
        self.ended = 0.0
        self.span_id = span_id  # 16 hex digits
        self.status = 0
        self.error = ""


class CallRoute(Protocol):
    """What filters and telemetry may know of a route (it lives in `router`)."""

    @property
    def name(self) -> str: ...  # "bookinfo/reviews"
    @property
    def rule(self) -> str: ...  # "everyone"


class Tap(Protocol):
    """Who hears of an exchange and takes no part in it: a mirror. Only `send_data` and `send_end` tell of the request's
    body. `answer` brings the whole body when it came with the head; `over` comes once, last, whatever happened:
    at the end, or where a tunnel begins, of whose bytes nobody hears. There it lets go of its call."""

    def send_data(self, data: bytes) -> bool: ...
    def send_end(self, trailers: Fields | None = None) -> None: ...
    def answer(self, response: Response, body: bytes | None) -> None: ...  # as the upstream sent it; never kept
    def answer_data(self, data: bytes) -> None: ...
    def over(self, error: str) -> None: ...


class Call:
    """What filters, balancers and telemetry see of an exchange. `Exchange(Call)` adds the machinery."""

    __slots__ = (  # noqa: RUF023 (by question, not by letter)
        # what came in
        "listener",  # str: the listener's name
        "peer",  # Peer
        "request",  # Request
        # what was decided
        "attributes",  # dict[str, Any] | None: what filters tell each other (claims, plan); None until used
        "backend",  # str: the backend's service name, "" before one was chosen
        "captures",  # dict[str, str] | None: named groups of the path's regular expression
        "cookies",  # tuple[bytes, ...]: Set-Cookie values that stickiness and balancing add to the answer
        "decision",  # str: "<ns>/<policy>/<rule or provider>" that let pass or refused; "" if none was asked
        "route",  # CallRoute | None
        "service",  # str: the service that was called, "" if none
        # trace: hex bytes; sampled says whether spans are made
        "parent_id",
        "request_id",
        "sampled",
        "span_id",
        "trace_id",
        # times: monotonic seconds, 0.0 for not yet
        "deadline",  # when everything must have ended; inf for never
        "ended",
        "first_byte",  # of the answer
        "started",
        # how it went
        "address",  # (str, int) of the endpoint last tried
        "bytes_in",  # of the request's body
        "bytes_out",  # of the answer's body
        "detail",
        "error",  # key of errors.TABLE, "" when all went well
        "replayable",  # bool
        "retries",
        "status",  # 0 until an answer began
        "taps",  # tuple[Tap, ...]
        "tries",  # list[Try] | None, only when sampled
        "waiting_on",  # something with cancel(), while a filter waits
    )  # fmt: skip

    listener: str
    peer: Peer
    request: Request
    attributes: dict[str, Any] | None
    backend: str
    captures: dict[str, str] | None
    cookies: tuple[bytes, ...]
    decision: str
    route: CallRoute | None
    service: str
    parent_id: bytes
    request_id: bytes
    sampled: bool
    span_id: bytes
    trace_id: bytes
    deadline: float
    ended: float
    first_byte: float
    started: float
    address: tuple[str, int]
    bytes_in: int
    bytes_out: int
    detail: str
    error: str
    replayable: bool
    retries: int
    status: int
    taps: tuple[Tap, ...]
    tries: list[Try] | None
    waiting_on: Any

    def resume(self, verdict: Reply | None = None) -> None:
        """Go on after a WAIT. Ignored unless waiting: the deadline or the caller may have won."""
        raise NotImplementedError

    def listen(self, tap: Tap) -> None:
        """Have `tap` hear the request's body from its beginning, and the answer."""
        raise NotImplementedError

    def abort(self, error: str, detail: str = "") -> None:
        """Go no further: refused with a key of errors.TABLE, or cut off where the answer has begun."""
        raise NotImplementedError


class Caller(Protocol):
    """A downstream stream, driven by the exchange. After reset or the end of the answer nothing more is called.

    `send_head` takes the whole body with the head when it is there (b"" where there is none), and the answer has ended;
    with None, send_data and send_end follow.
    """

    def send_informational(self, response: Response) -> None: ...
    def send_head(self, response: Response, body: bytes | None) -> None: ...
    def send_data(self, data: bytes) -> bool: ...  # False: stop until on_caller_writable
    def send_end(self, trailers: Fields | None = None) -> None: ...
    def open_tunnel(self, response: Response) -> None: ...
    def reset(self, error: str) -> None: ...
    def pause(self) -> None: ...  # stop the request body
    def resume(self) -> None: ...


class Nobody:
    """A Caller that takes everything and tells nobody: stands where one was, when its exchange is over."""

    __slots__ = ()

    def send_informational(self, response: Response) -> None: ...
    def send_head(self, response: Response, body: bytes | None) -> None: ...
    def send_data(self, data: bytes) -> bool:
        return True

    def send_end(self, trailers: Fields | None = None) -> None: ...
    def open_tunnel(self, response: Response) -> None: ...
    def reset(self, error: str) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


NOBODY: Final = Nobody()


class Serving(Protocol):
    """What a downstream stream calls: the exchange. In a tunnel, on_request_data and on_request_end carry its bytes."""

    def begin(self, request: Request, ended: bool) -> None: ...
    def on_request_data(self, data: bytes) -> None: ...
    def on_request_end(self, trailers: Fields | None) -> None: ...
    def on_caller_writable(self) -> None: ...
    def on_caller_gone(self, error: str) -> None: ...
    def refuse(self, error: str, detail: str, request: Request | None) -> None: ...


class Attempt(Protocol):
    """One try at one endpoint, from endpoint.open(request, receiver). In a tunnel send_data carries its bytes."""

    def send_data(self, data: bytes) -> bool: ...
    def send_end(self, trailers: Fields | None = None) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def cancel(self, reason: str) -> None: ...  # after it returns, the receiver is never called again
    def unsent(self) -> tuple[list[bytes], Fields | None]: ...  # what of the body, and its trailers, has never left


class Receiver(Protocol):
    """Who waits for an attempt's answer: the exchange, a mirror's copy, a health check, later a hedge race.

    `on_response` brings the whole body when it came with the head (b"" where there is none), and the attempt is over;
    with None, on_data and on_end follow.
    """

    def on_informational(self, response: Response) -> None: ...
    def on_response(self, response: Response, body: bytes | None) -> None: ...
    def on_data(self, data: bytes) -> None: ...
    def on_end(self, trailers: Fields | None) -> None: ...
    def on_tunnel(self, response: Response) -> None: ...
    def on_failure(self, failure: Failure) -> None: ...
    def on_writable(self) -> None: ...
