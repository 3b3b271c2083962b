"""The sending half of an HTTP/1 connection, the same on both sides: a head, a body in its framing, an end.

Extended by downstream/detour (answers) and upstream/http1 (requests). The head is held back until the first piece of
body or the end comes, so that both leave in one write; an empty piece says that nothing is to be had yet and lets the
head go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidewinder_sidecar.http1.encode import last_chunk
from sidewinder_sidecar.http1.lines import CHUNKED, CLOSE, LENGTH, NONE
from sidewinder_sidecar.wire import JOIN, OPEN, Wire

if TYPE_CHECKING:
    from sidewinder_sidecar.fields import Fields
    from sidewinder_sidecar.settings import Limits
    from sidewinder_sidecar.wheel import Wheel


class Sender(Wire):
    """Wire with messages. A body that does not keep the length its head told never looks complete to the peer."""

    __slots__ = ("ending", "held", "owed")

    def __init__(self, wheel: Wheel, limits: Limits) -> None:
        super().__init__(wheel, limits)
        self.held = b""  # a head that is not sent yet
        self.ending = NONE  # how the body's end is told
        self.owed = 0  # bytes that a told length still asks for

    def send_body(self, data: bytes) -> bool:
        """Another piece; whether there is room for more."""
        ending = self.ending
        if ending == LENGTH:
            self.owed -= len(data)
            if self.owed < 0:
                self.break_off()
                return True
        elif ending == NONE:
            data = b""  # HEAD, 204, 304: whoever answers need not know
        held = self.held
        if not data:
            if held:
                self.held = b""
                self.write(held)
        elif ending == CHUNKED:
            self.held = b""
            self.write_all((b"%b%x\r\n" % (held, len(data)), data, b"\r\n"))
        elif held:
            self.held = b""
            if len(data) < JOIN:
                self.write(held + data)
            else:
                self.write_all((held, data))
        else:
            self.write(data)
        return self.room

    def send_last(self, trailers: Fields | None) -> bool:
        """The end; False if it came too early: the peer has been shown that the message is cut."""
        held = self.held
        if self.ending == CHUNKED:
            held += last_chunk(trailers)
        if held:
            self.held = b""
            self.write(held)
        if self.ending == LENGTH and self.owed:
            self.break_off()
            return False
        return True

    def send_raw(self, data: bytes) -> bool:
        """A tunnel's bytes."""
        if data:
            self.write(data)
        return self.room

    def tunnel(self) -> None:
        """From now on there is no message any more."""
        self.ending = CLOSE
        self.held = b""

    @property
    def usable(self) -> bool:
        return self.wired == OPEN
