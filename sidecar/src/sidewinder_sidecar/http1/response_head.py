"""An answer's head: bytes to a Response, strictly (RFC 9112). Called by upstream/http1, which finds the head's end.

Everything doubtful about where the body ends is refused: an answer that can be read in two ways is none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from httptools import HttpParserError

from sidewinder_sidecar.errors import UpstreamError
from sidewinder_sidecar.fields import Fields
from sidewinder_sidecar.http1.lines import (
    CHUNKED,
    CLOSE,
    FEW,
    LENGTH,
    LENGTH_ONLY,
    NONE,
    SMALL,
    Seen,
    bad_byte,
    content_length,
    options,
    splitter,
    strip,
)
from sidewinder_sidecar.messages import Response

if TYPE_CHECKING:
    from sidewinder_sidecar.settings import Limits

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t -~\x80-\xff]*))?")
_lines: Final[dict[bytes, tuple[int, bool, bytes]]] = {}  # status lines that passed; emptied when full
_LINES: Final = 256
_recent: Final[dict[bytes, Seen]] = {}  # small heads that some connection has brought; emptied when full
_RECENT: Final = 64  # 100 KB at most


class Newest:
    """The head that came last, of whatever connection: most often the next one's too, and still in the processor's
    caches, where those of a thousand connections are not."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen = Seen()


newest: Final = Newest()


def fault(seen: bytes, limits: Limits, judged: int = 0) -> tuple[str, str] | None:
    """What already rules the beginning of a head out; the first offence by position wins. `judged` as in `bad_byte`."""
    bad = bad_byte(seen, judged)
    if len(seen) > limits.header_bytes and bad >= limits.header_bytes:
        return "response_headers_too_large", f"more than {limits.header_bytes} bytes of header fields"
    return ("upstream_protocol", f"byte {seen[bad]:#04x} at {bad} of the head") if bad < len(seen) else None


def recall(head: bytes, seen: Seen) -> Seen:
    """What some connection knows of this head, where it is not what this one knows (`seen`): it is the same for a
    second, until its Date moves on, and of a thousand connections each is asked too seldom to learn that. Callers share
    connections anyway, so that nobody can find out more by the clock."""
    if len(head) > SMALL or head == seen.block:
        return seen
    found = _recent.get(head)
    if found is None:
        if len(_recent) >= _RECENT:
            _recent.clear()
        _recent[head] = found = Seen()
    return found


def parse(head: bytes, method: bytes, limits: Limits, seen: Seen) -> tuple[Response, bool, int]:
    """A whole head to the answer, whether the connection may be kept, and how the body ends. Raises UpstreamError."""
    if head == seen.block and method != b"HEAD":
        again = Fields(seen.rows, seen.source, seen.index.copy())
        return Response(seen.status, again, seen.length, seen.text), seen.keep, seen.ending
    end = head.find(b"\r\n")
    if len(head) > SMALL and len(head) > limits.header_bytes:
        raise UpstreamError(*(fault(head, limits) or ("bug", "")))
    line = head[:end]
    status, minor, reason = _lines.get(line) or _status_line(line, head, limits)
    try:
        rows = splitter.split(head, end)
    except HttpParserError as error:
        raise _invalid(head, limits, str(error)) from None
    if len(rows) > FEW and len(rows) > limits.header_count:
        raise UpstreamError("response_headers_too_large", f"more than {limits.header_count} header fields")
    fields = Fields(rows, None if b"\t" in head else head[end:-2])
    index = fields.index
    answer = Response(status, fields, None, reason)
    length = index.get(b"content-length")
    if length is not None:
        plain = len(length) < 10 and length.isdigit() and length[0] != 48 and len(index) == len(rows)
        answer.length = int(length) if plain else content_length(length, fields)
        if answer.length is None:
            raise UpstreamError("upstream_protocol", "Content-Length is not one number of bytes")
    if LENGTH_ONLY.isdisjoint(index):
        splitter.spent = False
        keep = minor
        ending = NONE if bodiless(status, method) else LENGTH if length is not None else CLOSE
        if ending == CLOSE:
            keep = False
    else:
        nominated = options(fields)
        ending = _ending(answer, method, minor)
        keep = ending != CLOSE and (b"close" not in nominated if minor else b"keep-alive" in nominated)
        strip(fields, nominated)
    if status >= 200 and method != b"HEAD" and len(head) <= SMALL and fields.source is not None:
        seen.learn(head, fields, answer.length, keep, reason)
        seen.status, seen.ending = status, ending
    return answer, keep, ending


def bodiless(status: int, method: bytes) -> bool:
    """Whether no body follows, whatever the fields say."""
    return status < 200 or status == 204 or status == 304 or method == b"HEAD"


def _status_line(line: bytes, head: bytes, limits: Limits) -> tuple[int, bool, bytes]:
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise _invalid(head, limits, "the status line is not that of HTTP/1.1 or HTTP/1.0")
    if len(_lines) >= _LINES:
        _lines.clear()
    _lines[line] = known = (int(found[2]), found[1] == b"1", found[3] or b"")
    return known


def _ending(answer: Response, method: bytes, minor: bool) -> int:
    """RFC 9112 section 6.3, with everything doubtful refused."""
    fields = answer.fields
    codings = fields.all(b"transfer-encoding")
    if codings:
        if answer.length is not None:
            raise UpstreamError("upstream_protocol", "Content-Length with Transfer-Encoding")
        if not minor or len(codings) > 1 or codings[0].lower() != b"chunked":
            raise UpstreamError("upstream_protocol", "a transfer coding other than chunked, or in HTTP/1.0")
    if bodiless(answer.status, method):
        return NONE
    return CHUNKED if codings else CLOSE if answer.length is None else LENGTH


def upgraded(answer_head: bytes) -> bytes:
    """The protocol that a 101 names, in lower case: hop-by-hop, so it is not in its fields any more."""
    found = re.findall(rb"\r\nupgrade:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", answer_head.lower())
    return found[0] if len(found) == 1 else b""


def keep_alive_seconds(answer_head: bytes) -> float | None:
    """How long the upstream says it keeps an idle connection (`Keep-Alive: timeout=5`)."""
    found = re.search(rb"\r\nkeep-alive:[^\r\n]*\btimeout=([0-9]{1,6})\b", answer_head.lower())
    return float(found[1]) if found else None


def _invalid(head: bytes, limits: Limits, detail: str) -> UpstreamError:
    return UpstreamError(*(fault(head, limits) or ("upstream_protocol", detail)))
