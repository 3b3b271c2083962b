"""What ALPN `sidewinder/tcp` carries: a relayed connection in pieces, so that each side's end is told by itself.

TLS has no half-close, and protocols that need one (a caller that sends all, says so and reads the answer) would be cut.
A piece is four bytes of length, big-endian, and so many bytes; a length of 0 is the end of that direction. Pieces are
passed on as they come, none is collected. `Framed` stands between TLS and a connection of `downstream` or `upstream`,
which finds it as good as TCP.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

END: Final = b"\0\0\0\0"
LARGEST: Final = 1 << 24  # bytes of a piece; one write is 256 KiB. More is not from one of us


class BadFrame(ValueError):
    """It is not one of us who speaks there."""


def framed(data: bytes) -> bytes:
    """One piece, or as many as it takes."""
    if len(data) < LARGEST:
        return len(data).to_bytes(4, "big") + data if data else b""
    most = LARGEST - 1
    return b"".join([framed(data[at : at + most]) for at in range(0, len(data), most)])


class Frames:
    """One direction, as it is read."""

    __slots__ = ("_head", "_left", "ended")

    def __init__(self) -> None:
        self.ended = False
        self._left = 0  # bytes that the piece still has
        self._head = b""  # part of a length

    def feed(self, data: bytes) -> bytes:
        """What of `data` is content. Raises BadFrame."""
        if self._head:
            data, self._head = self._head + data, b""
        found: list[bytes] = []
        at, end = 0, len(data)
        while at < end:
            if self.ended:
                raise BadFrame("bytes follow the end")
            if not self._left:
                if end - at < 4:
                    self._head = data[at:]
                    break
                self._left = size = int.from_bytes(data[at : at + 4], "big")
                at += 4
                self.ended = not size
                if size > LARGEST:
                    raise BadFrame("a piece is larger than any of ours")
                continue
            piece = data[at : at + self._left]
            self._left -= len(piece)
            at += len(piece)
            found.append(piece)
        return found[0] if len(found) == 1 else b"".join(found)


class Framed:
    """To TLS a protocol, to a connection a transport. Not an asyncio class by descent, as `wire.Wire`."""

    __slots__ = ("_frames", "_over", "_said", "inner", "outer")

    def __init__(self, outer: Any) -> None:
        self.outer = outer  # TLS's transport
        self.inner: Any = None  # the connection, an asyncio.Protocol
        self._frames = Frames()
        self._said = False  # our end
        self._over = False

    def carry(self, connection: Any) -> None:
        """Be what `connection` stands on."""
        self.inner = connection
        self.outer.set_protocol(self)
        connection.connection_made(self)

    # The protocol.

    def data_received(self, data: bytes) -> None:
        """The connection may hand over to another meanwhile."""
        if self._over:
            return
        try:
            content = self._frames.feed(data)
        except BadFrame:
            self.abort()
            return
        if content:
            self.inner.data_received(content)
        if self._frames.ended and not self.is_closing() and not self.inner.eof_received():
            self.close()

    def eof_received(self) -> bool:
        """TLS has ended, and with it both directions."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._over = True
        self.inner.connection_lost(error)

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    # The transport.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == "sidewinder.frames" else self.outer.get_extra_info(name, default)

    def set_protocol(self, connection: asyncio.Protocol) -> None:
        self.inner = connection

    def is_closing(self) -> bool:
        return self._over

    def write(self, data: bytes) -> None:
        if not self._said:
            self.outer.write(framed(data))

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        if not self._said:
            self._said = True
            self.outer.write(END)

    def close(self) -> None:
        if not self._over:
            self._over = True
            self.write_eof()
            self.outer.close()

    def abort(self) -> None:
        self._over = True
        self.outer.abort()

    def pause_reading(self) -> None:
        self.outer.pause_reading()

    def resume_reading(self) -> None:
        self.outer.resume_reading()

    def get_write_buffer_size(self) -> int:
        return int(self.outer.get_write_buffer_size())

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.outer.set_write_buffer_limits(high, low)
