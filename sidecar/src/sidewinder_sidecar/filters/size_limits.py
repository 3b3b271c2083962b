"""How large messages may be: 431 and 413 for a request, 502 for an answer. Made by `plan/guards` for `sizeLimits`, and
for a rule by `filters`.

A length that is told is judged with the head. Where the end alone will tell, a Tap counts what passes; nothing is kept.
What has been sent on by then cannot be called back: the upstream's connection closes in the middle of the body, and an
answer that has begun is cut, so that nobody takes it for whole. A tunnel's bytes are no body.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.errors import refusal
from sidewinder_sidecar.messages import Call, Reply, Response

if TYPE_CHECKING:
    from sidewinder_sidecar.fields import Fields
    from sidewinder_sidecar.snapshot.policies import SizesSpec

KIND: Final = "size_limits"
NO_LIMIT: Final = 1 << 62  # bytes


def _nobody_counts(kind: str, action: str, policy: str) -> None:
    """A rule's own filter: the access log tells."""


def build(
    spec: SizesSpec, count: Callable[[str, str, str], None] = _nobody_counts
) -> Callable[[Call], Reply | None] | None:
    """The filter of one section; None where it limits nothing. Raises ValueError for what is no size."""
    for name, value in (
        ("request_headers", spec.request_headers),
        ("request_body", spec.request_body),
        ("response_body", spec.response_body),
    ):
        if value is not None and value < 0:
            raise ValueError(f"{name}: {value} is negative, 0 is the least")
    if spec.request_headers is None and spec.request_body is None and spec.response_body is None:
        return None
    return SizeLimits(spec, count).apply


class SizeLimits:
    """One section on one port, or on one rule."""

    __slots__ = ("_count", "_decision", "_headers", "_policy", "request", "response")

    def __init__(self, spec: SizesSpec, count: Callable[[str, str, str], None]) -> None:
        self._policy = spec.policy
        self._decision = f"{spec.policy}/sizeLimits" if spec.policy else ""
        self._count = count
        self._headers = NO_LIMIT if spec.request_headers is None else spec.request_headers
        self.request = NO_LIMIT if spec.request_body is None else spec.request_body
        self.response = NO_LIMIT if spec.response_body is None else spec.response_body

    def apply(self, call: Call) -> Reply | None:
        """What the head tells already; and who counts the rest."""
        request = call.request
        if self._headers != NO_LIMIT and (size := size_of(request.fields)) > self._headers:
            return self._refusal("headers_too_large", f"the header fields have {size} bytes, {allowed(self._headers)}")
        length = request.length
        if length is not None and length > self.request:
            return self._refusal("body_too_large", f"the body has {length} bytes, {allowed(self.request)}")
        if self.response != NO_LIMIT or (length is None and self.request != NO_LIMIT):
            meter = Meter(self)
            call.listen(meter)  # which tells at once what came while a filter waited: too much of that is refused here
            if meter.received > self.request:
                return self._refusal("body_too_large", f"the body has {meter.received} bytes, {allowed(self.request)}")
            meter.call = call
        return None

    def _refusal(self, error: str, detail: str) -> Reply:
        self._count(KIND, "Deny", self._policy)
        reply = refusal(error, detail)
        reply.decision = self._decision
        return reply

    def stop(self, call: Call, error: str, detail: str) -> None:
        """More than that has come, or is announced."""
        self._count(KIND, "Deny", self._policy)
        if self._decision:
            call.decision = self._decision
        call.abort(error, detail)

    def __repr__(self) -> str:
        return f"<SizeLimits {self._decision}>"


class Meter:
    """Counts one call's bodies: a Tap. It stops the call, once it has one."""

    __slots__ = ("_limits", "_sent", "call", "received")

    def __init__(self, limits: SizeLimits) -> None:
        self.call: Call | None = None
        self.received = 0  # of the request
        self._limits = limits
        self._sent = 0  # of the answer

    def send_data(self, data: bytes) -> bool:
        """A part of the request."""
        self.received += len(data)
        most = self._limits.request
        if self.received > most and self.call is not None:
            self._limits.stop(self.call, "body_too_large", f"the body has more than the {most} bytes that {_ALLOWED}")
        return True

    def send_end(self, trailers: Fields | None = None) -> None: ...

    def answer(self, response: Response, body: bytes | None) -> None:
        """What the answer's head tells. One to HEAD has a length and no body."""
        size = response.length if body is None else len(body)
        most = self._limits.response
        if size is not None and size > most and self.call is not None:
            detail = f"the upstream's answer has {size} bytes, {allowed(most)}"
            self._limits.stop(self.call, "response_too_large", detail)

    def answer_data(self, data: bytes) -> None:
        """A part of the answer."""
        self._sent += len(data)
        most = self._limits.response
        if self._sent > most and self.call is not None:
            detail = f"the upstream's answer has more than the {most} bytes that {_ALLOWED}"
            self._limits.stop(self.call, "response_too_large", detail)

    def over(self, error: str) -> None:
        """Nothing more comes."""
        self.call = None

    def __repr__(self) -> str:
        return f"<Meter {self.received} {self._sent}>"


_ALLOWED: Final = "are allowed here"


def allowed(most: int) -> str:
    """The half of a sentence that says what would be right."""
    return f"{most} {_ALLOWED}"


def size_of(fields: Fields) -> int:
    """Bytes of the header fields as they came, each with its colon, space and line end."""
    if fields.source is not None:
        return len(fields.source) - 2  # it begins with the end of the line before
    return sum(len(name) + len(value) + 4 for _, name, value in fields.rows)
