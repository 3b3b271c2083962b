"""A transport without a socket: what was written, and what uvloop would have said. For conversations by hand."""

from __future__ import annotations

import asyncio
from typing import Any


class FakeTransport(asyncio.Transport):
    """Remembers everything. `room` is how much the peer takes; what is beyond stays in the buffer until `take`."""

    def __init__(self, protocol: asyncio.Protocol, room: int = 1 << 30) -> None:
        super().__init__()
        self.protocol = protocol
        self.sent = b""
        self.writes = 0
        self.room = room
        self.buffered = 0
        self.reading = True
        self.eof = False
        self.closing = False
        self.aborted = False
        self.lost = False
        self.paused = False
        self.high = 65536

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("192.0.2.7", 40000)}.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or 65536

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.lost:
            raise RuntimeError("unable to perform operation on <FakeTransport>; the handler is closed")
        if self.eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        assert data, "an empty write is a call for nothing"
        self.writes += 1
        self.sent += bytes(data)
        self.buffered += len(data)
        taken = min(self.room, self.buffered)
        self.room -= taken
        self.buffered -= taken
        if self.buffered > self.high and not self.paused:
            self.paused = True
            self.protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def take(self, size: int = 1 << 30) -> None:
        """The peer reads."""
        taken = min(size, self.buffered)
        self.buffered -= taken
        self.room += size - taken
        if self.paused and self.buffered <= self.high // 4:
            self.paused = False
            self.protocol.resume_writing()
        if self.closing and not self.buffered:
            self.lose()

    def write_eof(self) -> None:
        assert not self.lost
        self.eof = True

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading

    def close(self) -> None:
        self.closing = True
        self.reading = False

    def abort(self) -> None:
        self.closing = self.aborted = True
        self.buffered = 0

    # What the test does.

    def lose(self, error: Exception | None = None) -> None:
        """The loop tells the protocol that the connection is gone; once."""
        if not self.lost:
            self.lost = self.closing = True
            self.protocol.connection_lost(error)

    def hear_eof(self) -> None:
        """The peer has said FIN."""
        if not self.lost and not self.closing and not self.protocol.eof_received():
            self.close()
            self.settle()

    def settle(self) -> None:
        """What the loop does in its next turn: a connection that was closed or aborted is lost."""
        if self.closing and not self.buffered:
            self.lose()

    @property
    def ended(self) -> bool:
        """Whether the peer sees the end of what we send, in whatever way."""
        return self.eof or self.closing


def connect(protocol: Any, room: int = 1 << 30) -> FakeTransport:
    """An open connection."""
    transport = FakeTransport(protocol, room)
    protocol.connection_made(transport)
    return transport
