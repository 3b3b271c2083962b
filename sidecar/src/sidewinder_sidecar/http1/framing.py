"""The chunked coding's end of a body, found strictly (RFC 9112 section 7.1). Called by both connections.

A known length needs no code: the connection counts. Chunks come out joined, one piece per read, because their borders
mean nothing to anybody; extensions are dropped, within bounds; trailers come out as Fields, and those that must not be
there (framing, routing, authentication) refuse the message.
"""

from __future__ import annotations

import re
from typing import Final

from sidewinder_sidecar.fields import Fields

LONGEST_LINE: Final = 256  # bytes of a chunk's size and extensions; nobody sends more than 20
EXTENSIONS: Final = 16384  # bytes of them in a whole body, so that they cannot outweigh it
LONGEST_TRAILERS: Final = 8192  # bytes; a checksum or a gRPC status fits many times

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})((?:[ \t]*;[\t -~\x80-\xff]*)?)")
_TRAILER: Final = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*"
)
_FORBIDDEN: Final = frozenset((
    b"authorization", b"cache-control", b"connection", b"cookie", b"expect", b"forwarded", b"host", b"keep-alive",
    b"max-forwards", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"range", b"set-cookie", b"te",
    b"trailer", b"transfer-encoding", b"upgrade", b"via", b"www-authenticate", b"x-real-ip",
))  # fmt: skip
_FORBIDDEN_PREFIXES: Final = (b"content-", b"if-", b"x-forwarded-")

_AT_SIZE: Final = 0
_AT_DATA: Final = 1
_AT_BREAK: Final = 2
_AT_TRAILERS: Final = 3
_AT_END: Final = 4


class BadFraming(ValueError):
    """The body cannot be told from what follows it; says why."""


class Chunked:
    """`feed` until `ended`; then `rest` is what follows the body and `trailers` what closed it."""

    __slots__ = ("_extensions", "_left", "_partial", "_state", "rest", "trailers")

    def __init__(self) -> None:
        self._state = _AT_SIZE
        self._left = 0  # bytes of the chunk that are still to come
        self._partial = b""  # of a line
        self._extensions = 0
        self.rest = b""
        self.trailers: Fields | None = None

    @property
    def ended(self) -> bool:
        return self._state == _AT_END

    def feed(self, data: bytes) -> bytes:
        """The body in these bytes. Raises BadFraming; what came before the offence is lost with the message."""
        if self._partial:
            data = self._partial + data
            self._partial = b""
        parts: list[bytes] = []
        at, size = 0, len(data)
        while at < size:
            if self._state == _AT_DATA:
                end = at + self._left
                parts.append(data[at:end])
                if end > size:
                    self._left = end - size
                    break
                at, self._left, self._state = end, 0, _AT_BREAK
            elif self._state == _AT_BREAK:
                if not data.startswith(b"\r\n", at):
                    if size - at == 1 and data[at] == 13:
                        self._partial = b"\r"
                        break
                    raise BadFraming("a chunk is longer than its size")
                at, self._state = at + 2, _AT_SIZE
            elif self._state == _AT_SIZE:
                if (at := self._size(data, at)) < 0:
                    break
            elif (at := self._end(data, at)) < 0 or self._state == _AT_END:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _size(self, data: bytes, at: int) -> int:
        """Past the chunk's first line, or -1 when more is needed."""
        end = data.find(b"\n", at, at + LONGEST_LINE + 2)
        if end < 0:
            if len(data) - at > LONGEST_LINE + 1:
                raise BadFraming(f"a chunk's size and extensions are longer than {LONGEST_LINE} bytes")
            self._partial = data[at:]
            return -1
        found = _SIZE.fullmatch(data, at, end - 1) if data[end - 1] == 13 else None
        if found is None:
            raise BadFraming("a chunk's size is not a hexadecimal number")
        if found[2]:
            self._extensions += len(found[2])
            if self._extensions > EXTENSIONS:
                raise BadFraming(f"more than {EXTENSIONS} bytes of chunk extensions")
        self._left = int(found[1], 16)
        self._state = _AT_DATA if self._left else _AT_TRAILERS
        return end + 1

    def _end(self, data: bytes, at: int) -> int:
        """Past the empty line that ends the trailers, or -1 when more is needed."""
        if data.startswith(b"\r\n", at):
            self._state = _AT_END
            self.rest = data[at + 2 :]
            return at + 2
        end = data.find(b"\r\n\r\n", at)
        if (end if end >= 0 else len(data)) - at > LONGEST_TRAILERS:
            raise BadFraming(f"more than {LONGEST_TRAILERS} bytes of trailers")
        if end < 0:
            self._partial = data[at:]
            return -1
        self.trailers = _trailers(data[at:end])
        self._state = _AT_END
        self.rest = data[end + 4 :]
        return end + 4

    def __repr__(self) -> str:
        return f"<Chunked {('size', 'data', 'break', 'trailers', 'end')[self._state]} {self._left} left>"


def _trailers(block: bytes) -> Fields:
    rows = []
    for line in block.split(b"\r\n"):
        found = _TRAILER.fullmatch(line)
        if found is None:
            raise BadFraming("a trailer is not a field")
        lower = found[1].lower()
        if lower in _FORBIDDEN or lower.startswith(_FORBIDDEN_PREFIXES):
            raise BadFraming(f"{lower.decode()} is not allowed as a trailer")
        rows.append((lower, found[1], found[2]))
    return Fields(rows)
