"""Field lines: split by httptools, cleared of what is hop-by-hop. Shared by request_head and response_head.

Only whole heads come here and nothing is kept between two of them: one parser serves the process. httptools judges the
bytes of names and values and that every line ends properly; what they mean is judged by us alone.

Connection may nominate any field but those that framing, routing or identity rest on (`_KEPT`): they stay.
"""

from __future__ import annotations

import re
from typing import Any, Final

from httptools import HttpResponseParser

from sidewinder_sidecar.fields import Fields, Row

END: Final = b"\r\n\r\n"

# How a body ends, as a receiver and a sender tell it.
LENGTH: Final = 0
CHUNKED: Final = 1
CLOSE: Final = 2
NONE: Final = 3

# Fields that speak of the connection or of framing: any of them takes the slow path.
SPECIAL: Final = frozenset((
    b"connection", b"content-length", b"expect", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding",
    b"upgrade",
))  # fmt: skip
LENGTH_ONLY: Final = SPECIAL - {b"content-length"}
_HOP: Final = SPECIAL - {b"content-length", b"expect"}
# What Connection cannot take away: a caller would use it to hide its address, or the next hop's authentication.
_KEPT: Final = frozenset((
    b"age", b"authorization", b"baggage", b"cache-control", b"cookie", b"date", b"expect", b"forwarded",
    b"grpc-timeout", b"host", b"idempotency-key", b"location", b"origin", b"proxy-authorization", b"proxy-status",
    b"range", b"set-cookie", b"trailer", b"traceparent", b"tracestate", b"vary", b"via", b"www-authenticate",
    b"x-real-ip", b"x-request-deadline", b"x-request-id",
))  # fmt: skip
_KEPT_PREFIXES: Final = (b"access-control-", b"content-", b"if-", b"sec-", b"x-forwarded-")

# A control byte, a lone LF, or a CR that no LF follows; a CR at the very end is not judged yet.
_BAD_BYTE: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
LISTED: Final = re.compile(rb"[ \t]*,[ \t]*")
SMALL: Final = 1024  # bytes: no limit can be set lower, so that smaller heads need not be measured
FEW: Final = 8  # fields: the same
_NO_BODY: Final = b"HTTP/1.1 204 \r\n"
_LONGEST_LENGTH: Final = 18  # digits: below 2⁶³ in everybody's arithmetic


class _Splitter:
    """Field lines to rows. Only they reach httptools, behind a status line of ours, for which no field means a body."""

    __slots__ = ("_parser", "_rows", "spent")

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._parser: Any = None
        self.spent = True  # the last head broke the parser or, by a Connection field, closed it

    def on_header(self, name: bytes, value: bytes) -> None:
        self._rows.append((name.lower(), name, value.rstrip()))  # httptools leaves white space at the end

    def split(self, head: bytes, end: int) -> list[Row]:
        """The fields of a head whose first line ends at `end`. Raises HttpParserError."""
        if self.spent:
            self._parser = HttpResponseParser(self)
        self.spent = True
        rows: list[Row] = []
        self._rows = rows
        self._parser.feed_data(_NO_BODY + head[end + 2 :])
        return rows


splitter: Final = _Splitter()


class Seen:
    """A connection's last head and what it meant: the next is most often the same, byte for byte.

    A caller's belongs to one connection, so that nobody can find out by the clock what somebody else has sent; answers'
    may be known to several (`response_head.recall`). The same again, to be edited anew, is
    `Fields(rows, source, index.copy())`.
    """

    __slots__ = ("block", "ending", "index", "keep", "length", "rows", "source", "status", "text")

    def __init__(self) -> None:
        self.block = b""  # what must be the same
        self.rows: list[Row] = []
        self.index: dict[bytes, bytes] = {}
        self.source: bytes | None = None
        self.length: int | None = 0
        self.keep = True
        self.text = b""  # a request's authority, an answer's reason
        # an answer's alone
        self.status = 0
        self.ending = NONE

    def learn(self, block: bytes, fields: Fields, length: int | None, keep: bool, text: bytes) -> None:
        """Remember a small head whose fields nobody has edited yet."""
        self.block = block
        self.rows = fields.rows
        self.index = fields.index.copy()
        self.source = fields.source
        self.length = length
        self.keep = keep
        self.text = text


def allowing(allowed: bytes) -> bytes:
    """A table under which bytes that hold only these are translated to themselves, and no others are.

    `text.translate(table) != text` takes 130 ns for 150 bytes; `translate(None, allowed)` makes its table each time,
    which takes 250 ns.
    """
    other = allowed[0]
    return bytes(byte if byte in allowed else other for byte in range(256))


_CLEAN: Final = allowing(bytes((9, 10, 13, *range(32, 127), *range(128, 256))))


def bad_byte(seen: bytes, judged: int = 0) -> int:
    """Where the first byte is that no head may hold; the length if there is none. So many bytes were judged before.

    Whether there is one is asked first, in passes at the speed of memory: the pattern takes 130 ns a byte, and what is
    there of a head that comes in pieces is judged with each of them.
    """
    if judged and seen[judged - 1] == 13:  # a CR at the end was not
        judged -= 1
    news = seen[judged:] if judged else seen
    ends = news.count(b"\r\n")
    if news.count(b"\n") == ends == news.count(b"\r") - news.endswith(b"\r") and news.translate(_CLEAN) == news:
        return len(seen)
    found = _BAD_BYTE.search(seen, judged)
    return found.start() if found else len(seen)


def content_length(value: bytes, fields: Fields) -> int | None:
    """Digits only, once; leading zeros are rewritten. None for anything else."""
    if not value.isdigit() or len(value) > _LONGEST_LENGTH:  # bytes: ASCII digits only
        return None
    if len(fields.index) != len(fields.rows) and len(fields.all(b"content-length")) > 1:
        return None
    if value[:1] == b"0" and value != b"0":
        plain = b"%d" % int(value)
        fields.rows = [(row[0], row[1], plain) if row[0] == b"content-length" else row for row in fields.rows]
        fields.index[b"content-length"] = plain
        fields.source = None
    return int(value)


def options(fields: Fields) -> set[bytes]:
    """Connection's tokens, in lower case; Proxy-Connection is not listened to."""
    found: set[bytes] = set()
    for value in fields.all(b"connection"):
        found.update(LISTED.split(value.lower()))
    return found


def strip(fields: Fields, nominated: set[bytes], more: tuple[bytes, ...] = ()) -> None:
    """Take the hop-by-hop fields out of rows, index and source."""
    gone = {name for name in nominated if name not in _KEPT and not name.startswith(_KEPT_PREFIXES)}
    gone.update(_HOP, more)
    source = fields.source
    kept: list[Row] = []
    for row in fields.rows:
        if row[0] not in gone:
            kept.append(row)
        elif source is not None:
            # A whole line goes; where it is not written the plain way, the fields are written anew.
            line = b"\r\n%b: %b\r\n" % row[1:]
            source = source.replace(line, b"\r\n", 1) if line in source else None
    fields.rows = kept
    fields.source = source
    for name in gone:
        fields.index.pop(name, None)
