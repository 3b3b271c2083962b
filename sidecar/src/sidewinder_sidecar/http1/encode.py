"""Heads, chunks and trailers to bytes. Called by both connections; every byte of HTTP/1 that leaves comes from here.

What was received and judged goes out as it came (`Fields.source`) where nobody edited it; what we or a configuration
added is checked for bytes that would end a line. Framing is written here alone, from `length`: a field of that name set
by anybody else does not get out.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from sidewinder_sidecar.fields import Fields, Row
from sidewinder_sidecar.http1.lines import CHUNKED, CLOSE, LENGTH, NONE, allowing
from sidewinder_sidecar.messages import Request, Response

LAST_CHUNK: Final = b"0\r\n\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_LINES: Final = {status.value: b"HTTP/1.1 %d %b" % (status.value, status.phrase.encode()) for status in HTTPStatus}
_VISIBLE: Final = allowing(bytes(range(0x21, 0x7F)))
_TEXT: Final = allowing(bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)]))
# Written here or for one hop only: in a field that somebody added they are left out.
_OURS: Final = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_EXPECTS_BODY: Final = frozenset((b"POST", b"PUT", b"PATCH"))  # RFC 9110 section 8.6: say 0 where there could be a body
_BODILESS: Final = frozenset((*range(100, 200), 204, 304))
_names: Final[set[bytes]] = set()  # of fields that somebody added, known to be tokens; emptied when full
_NAMES: Final = 1024
_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Unsendable(ValueError):
    """A target or field that would not parse as what it is: an error of a filter or template, not of a peer."""


def request_head(request: Request) -> bytes:
    """The whole head, as HTTP/1.1. Raises Unsendable."""
    fields = request.fields
    method, target, length = request.method, request.target, request.length
    if target is not request.received and (not target or target.translate(_VISIBLE) != target):
        raise Unsendable("the target has a space, control or non-ASCII byte")
    index = fields.index
    told = b"content-length" in index and _tells(fields, length)
    if fields.source is not None and not fields.dropped:
        parts = [method, b" ", target, b" HTTP/1.1", fields.source]
        if fields.added:
            _write(fields.added, parts)
    else:
        parts = [method, b" ", target, b" HTTP/1.1"]
        _block(fields, parts)
    if b"host" not in index:
        parts.append(b"Host: %b\r\n" % request.authority)
    if length is None:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    elif not told and (length or method in _EXPECTS_BODY):
        parts.append(b"Content-Length: %d\r\n" % length)
    if request.upgrade and request.upgrade != b"connect":
        parts.append(b"Connection: upgrade\r\nUpgrade: %b\r\n" % request.upgrade)
    elif b"te" in index:
        parts.append(b"Connection: te\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def response_head(response: Response, body: bytes | None, request: Request | None, keep: bool) -> tuple[bytes, int]:
    """The whole head and how the body will end. `keep` is whether the connection may be kept. Raises Unsendable.

    `body` is None when it is not known yet. An unknown length is chunked, or for HTTP/1.0 the connection's end.
    """
    fields = response.fields
    status, length = response.status, response.length
    minor, method = (1, b"") if request is None else (request.minor, request.method)
    if (
        (keep and minor and length and fields.source is not None and (body is None or len(body) == length))
        and not (fields.added or fields.dropped or status in _BODILESS or method == b"HEAD")
        and b"content-length" in fields.index  # as received and judged, so it says what `length` does
    ):
        line = _LINES.get(status)
        if line is None or not line.endswith(response.reason):
            line = _status_line(response)
        return b"".join((line, fields.source, b"\r\n")), LENGTH  # as it came: the common case of what follows
    tail = b""
    if status == 204 or status < 200:
        ending = NONE
        fields.remove(b"content-length")
    elif status == 304 or method == b"HEAD":
        ending = NONE  # Content-Length, where it is told, is that of the body that is not sent
        if fields.source is None or fields.added:
            _tells(fields, length)
    else:
        if body is not None:
            length = len(body)
        ending = LENGTH if length is not None else CHUNKED if minor else CLOSE
        told = _tells(fields, length)
        if ending == CHUNKED:
            tail = b"Transfer-Encoding: chunked\r\n"
        elif ending == LENGTH and not told:
            tail = b"Content-Length: %d\r\n" % (length or 0)
    if not keep or ending == CLOSE:
        tail += b"Connection: close\r\n"
    elif not minor:
        tail += b"Connection: keep-alive\r\n"
    parts = [_status_line(response)]
    _block(fields, parts)
    parts.append(tail)
    parts.append(b"\r\n")
    return b"".join(parts), ending


def informational(response: Response) -> bytes:
    """A 1xx head."""
    return _bare_head(response, b"\r\n")


def tunnel_head(response: Response, request: Request) -> bytes:
    """The answer that turns the connection into a tunnel: 101, or 200 to CONNECT."""
    if request.upgrade == b"connect":
        return _bare_head(response, b"\r\n")
    return _bare_head(response, b"Connection: upgrade\r\nUpgrade: %b\r\n\r\n" % request.upgrade)


def _bare_head(response: Response, tail: bytes) -> bytes:
    """A head that no body follows, whatever it says."""
    response.fields.remove(b"content-length")
    parts = [_status_line(response)]
    _block(response.fields, parts)
    parts.append(tail)
    return b"".join(parts)


def chunk(data: bytes) -> bytes:
    """One chunk; never the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Fields | None) -> bytes:
    """The body's end, with its trailers."""
    if trailers is None:
        return LAST_CHUNK
    parts = [b"0"]
    _block(trailers, parts)
    parts.append(b"\r\n")
    return b"".join(parts)


def _status_line(response: Response) -> bytes:
    line = _LINES.get(response.status)
    reason = response.reason
    if line is None or (reason and not line.endswith(reason)):
        if not 100 <= response.status <= 999 or reason.translate(_TEXT) != reason:
            raise Unsendable("the status line has a control byte or no status")
        return b"HTTP/1.1 %d %b" % (response.status, reason)
    return line


def _tells(fields: Fields, length: int | None) -> bool:
    """Whether the fields themselves tell this length, once. A Content-Length that says anything else is removed."""
    value = fields.index.get(b"content-length")
    if value is None:
        return False
    if length is not None and value == b"%d" % length and (not fields.added or _once(fields)):
        return True
    fields.remove(b"content-length")
    return False


def _once(fields: Fields) -> bool:
    """Whether Content-Length, which is there, is there once. What a codec has judged needs no second count."""
    if fields.source is not None:
        for row in fields.added:
            if row[0] == b"content-length":
                break
        else:
            return True
    return len(fields.all(b"content-length")) == 1


def _block(fields: Fields, parts: list[bytes]) -> None:
    """The field lines, from the line break that ends the first line to the one that ends the last field."""
    if fields.source is None:  # not from a caller or upstream, or rewritten: nobody vouches for it
        parts.append(b"\r\n")
        _write(list(fields), parts)
        return
    if dropped := fields.dropped:
        parts.append(b"\r\n")
        for lower, name, value in fields.rows:
            if lower not in dropped:
                parts.append(name)
                parts.append(b": ")
                parts.append(value)
                parts.append(b"\r\n")
    else:
        parts.append(fields.source)
    if fields.added:
        _write(fields.added, parts)


def _write(rows: list[Row], parts: list[bytes]) -> None:
    """Field lines in pieces, so that the head is joined once."""
    values = []
    for lower, name, value in rows:
        if name not in _names:
            _learn(name)
        if lower not in _OURS:
            parts.append(name)
            parts.append(b": ")
            parts.append(value)
            parts.append(b"\r\n")
            values.append(value)
    text = b"".join(values)
    if text.translate(_TEXT) != text:
        raise Unsendable("a field has a control byte")


def _learn(name: bytes) -> None:
    if not _TOKEN.fullmatch(name):
        raise Unsendable(f"{name!r} is no field name")
    if len(_names) >= _NAMES:
        _names.clear()
    _names.add(name)
