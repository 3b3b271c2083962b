"""Two answers to one request, and where they differ: status, headers, body. Filled by `shadow`, told to `tally`.

A body is digested while it passes, its first `MOST_READ` bytes; none of it is kept. Headers that differ by their nature
are left out. Of the others the names are told, and the values only of those that never hold a secret.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from sidewinder_sidecar.telemetry import redact

if TYPE_CHECKING:
    from sidewinder_sidecar.messages import Response
    from sidewinder_sidecar.telemetry.redact import Redaction

MOST_READ: Final = 1_048_576  # bytes of an answer: 1 ms of digesting; a copy's connection that brings more is closed
MOST_TOLD: Final = 16  # headers of one sample
LONGEST_VALUE: Final = 128  # characters of a value that is told

# Of the moment, of this very exchange, or of the framing (the body is compared itself).
IGNORED: Final = frozenset({
    b"age", b"content-length", b"date", b"expires", b"server-timing", b"traceparent", b"traceresponse", b"tracestate",
    b"trailer", b"via", b"x-amzn-trace-id", b"x-correlation-id", b"x-envoy-upstream-service-time", b"x-process-time",
    b"x-request-id", b"x-response-time", b"x-runtime", b"x-sidewinder-unreached", b"x-trace-id",
})  # fmt: skip
# Values that are the service's own words; of all others (cookies, tokens, locations) the name is enough.
SHOWN: Final = frozenset({
    b"accept-ranges", b"allow", b"cache-control", b"content-encoding", b"content-language", b"content-type",
    b"retry-after", b"server", b"vary",
})  # fmt: skip


class Answer:
    """`ended` when nothing follows, `whole` when nothing is missing either. `size` stops one above what is compared."""

    __slots__ = ("_digest", "ended", "headers", "size", "status", "whole")

    def __init__(self) -> None:
        self._digest: Any = None
        self.status = 0
        self.headers: dict[bytes, bytes] = {}  # repeated ones by line
        self.size = 0
        self.ended = self.whole = False

    def head(self, response: Response) -> None:
        """It begins. The fields are read now: filters go on to change them."""
        self.status = response.status
        headers = self.headers
        for lower, _, value in response.fields:
            if lower not in IGNORED:
                if lower == b"set-cookie":  # whose value is a session, another one each time
                    value = value.partition(b"=")[0]
                headers[lower] = headers[lower] + b"\n" + value if lower in headers else value

    def data(self, data: bytes) -> None:
        """A part of the body."""
        room = MOST_READ - self.size
        if not data or room < 0:
            return
        if self._digest is None:
            self._digest = hashlib.sha256()  # processors have instructions for it: a third of what BLAKE2 takes
        self._digest.update(data if len(data) <= room else data[:room])
        self.size += min(len(data), room + 1)

    def end(self, error: str) -> None:
        """Nothing follows."""
        self.ended = True
        self.whole = self.status > 0 and not error

    def body(self) -> tuple[int, bytes]:
        """What stands for the body: the same for the same one."""
        return self.size, b"" if self._digest is None else self._digest.digest()

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.size} bytes>"


def differences(original: Answer, copy: Answer, redaction: Redaction | None) -> dict[str, Any]:
    """What differs, as it is told: `status`, `headers` and `body`, each only where it does."""
    found: dict[str, Any] = {}
    if original.status != copy.status:
        found["status"] = {"original": original.status, "mirror": copy.status}
    names = sorted(
        name
        for name in original.headers.keys() | copy.headers.keys()
        if original.headers.get(name) != copy.headers.get(name)
    )
    if names:
        found["headers"] = [
            {
                "name": name.decode("latin-1"),
                "original": _told(name, original.headers.get(name), redaction),
                "mirror": _told(name, copy.headers.get(name), redaction),
            }
            for name in names[:MOST_TOLD]
        ]
    if original.body() != copy.body():
        found["body"] = {"original": original.size, "mirror": copy.size}
    return found


def _told(name: bytes, value: bytes | None, redaction: Redaction | None) -> str | None:
    """None: the header is not there."""
    if value is None:
        return None
    shown = redact.header(name, value, redaction) if name in SHOWN else redact.HIDDEN
    return shown.decode("latin-1")[:LONGEST_VALUE]
