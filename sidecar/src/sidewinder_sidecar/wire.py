"""The only way to a transport: writes that never raise, closes that end, the peer's pace. Base of every connection.

Called by the loop (asyncio.Protocol) and by the connections of downstream/ and upstream/ that extend it. What uvloop
does and this hides: a write after the loss raises RuntimeError; close() with unsent bytes and a peer that does not read
stays open for ever; an answer's last bytes are lost when the socket is closed over unread input; over TLS the buffer's
size is told late, so what one burst wrote is counted here.

Subclasses get `on_lost` once, whoever ended it, `on_writable` after `room` was False, and `on_due` at the time set by
`wake`. Bound of one connection's unsent bytes: the transport's 64 KiB high-water mark, or BURST over TLS, plus the one
write that crossed it; a write is at most what one read brought (256 KiB on uvloop) or what the exchange replays.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from random import random
from typing import TYPE_CHECKING, Any, Final, Protocol

from sidewinder_sidecar.compiled import mypyc_attr

if TYPE_CHECKING:
    from sidewinder_sidecar.settings import Limits
    from sidewinder_sidecar.wheel import Slot, Wheel

BURST: Final = 262144  # bytes in one turn of the loop before a writer is told to wait: one full read of uvloop
JOIN: Final = 16384  # bytes: below it copying pieces together is cheaper than handing a list to the transport
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s: the close is a RST, which nobody takes for an end

# How far a connection has come to its end.
OPEN: Final = 0
CLOSING: Final = 1
LOST: Final = 2


def jittered(seconds: float) -> float:
    """Give or take a tenth, as gRPC's MaxConnectionAge: connections made together do not end together."""
    return seconds * (0.9 + 0.2 * random())


class Watcher(Protocol):
    """Knows connections that are open."""

    def forget(self, line: Any) -> None: ...
    def pass_on(self, line: Any, heir: Any) -> None: ...  # another connection goes on with its transport


@mypyc_attr(allow_interpreted_subclasses=True)
class Wire:
    """One connection. An asyncio.Protocol, but not by descent: a class that stands alone compiles to a C struct."""

    __slots__ = (
        "_burst", "_settling", "_slot", "halves", "limits", "room", "said_eof", "secure", "transport", "watcher",
        "wheel", "wired",
    )  # fmt: skip

    def __init__(self, wheel: Wheel, limits: Limits) -> None:
        self.wheel = wheel
        self.limits = limits
        self.transport: Any = None
        self.wired = LOST  # until connection_made
        self.room = True  # whether the peer takes what is written
        self.said_eof = False
        self.secure = False
        self.halves = True  # whether an end can be said for one direction alone
        self.watcher: Watcher | None = None  # who minds it as long as it is open
        self._burst = 0
        self._settling = False
        self._slot: Slot | None = None

    # What a subclass answers.

    def on_open(self) -> None:
        """The connection is there."""

    def on_lost(self, error: Exception | None) -> None:
        """It is gone; nothing can be written any more."""

    def on_writable(self) -> None:
        """There is room again."""

    def on_due(self, now: float) -> None:
        """The time set by `wake` has come."""

    # What the loop says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.wired = OPEN
        self.secure = transport.get_extra_info("sslcontext") is not None
        if self.secure:
            self.halves = transport.get_extra_info("sidewinder.frames") is not None
            self.transport.set_write_buffer_limits(BURST // 4)  # TCP's; uvloop's for TLS is 512 KiB
        self.on_open()

    def connection_lost(self, exc: Exception | None) -> None:
        self.sleep()
        self.wired = LOST
        self.room = False
        if self.watcher is not None:
            self.watcher.forget(self)
        self.on_lost(exc)

    def pause_writing(self) -> None:
        self.room = False

    def resume_writing(self) -> None:
        if not self.room and self.wired == OPEN and not self._settling:
            self.room = True
            self.on_writable()

    def on_time(self, now: float) -> None:
        self._slot = None
        if self.wired == OPEN:
            self.on_due(now)
        else:
            self.abort()

    # What a subclass does.

    def write(self, data: bytes) -> None:
        """Send, or nothing once the connection is closing or lost. Afterwards `room` tells whether to go on."""
        if self.wired == OPEN and not self.said_eof:
            self.transport.write(data)
            self._burst += len(data)
            if self._burst > BURST:
                self._settle()

    def write_all(self, pieces: tuple[bytes, ...]) -> None:
        """Send several pieces as one write; large ones are not copied."""
        if self.wired != OPEN:
            return
        size = sum(map(len, pieces))
        if size < JOIN or self.secure:
            self.transport.write(b"".join(pieces))
        else:
            self.transport.writelines(pieces)
        self._burst += size
        if self._burst > BURST:
            self._settle()

    def wake(self, when: float) -> None:
        """Have `on_due` called then; there is one such time, a new one replaces it."""
        if self._slot is not None:
            self._slot.discard(self)
        self._slot = self.wheel.at(when, self)

    def sleep(self) -> None:
        """Forget the time set by `wake`."""
        if self._slot is not None:
            self._slot.discard(self)
            self._slot = None

    def close(self) -> None:
        """Send what is unsent, then close; a peer that does not read gets `linger_seconds`."""
        if self.wired == OPEN:
            self.wired = CLOSING
            self.transport.close()
            self._linger()

    def finish(self) -> None:
        """Close, but first let the peer read our last bytes: say FIN, throw away what still comes, then close.

        Closing over unread input would make the kernel send a RST, which takes the answer from the peer's hands. The
        subclass must ignore what it receives while `wired` is CLOSING.
        """
        if self.wired != OPEN:
            return
        if not self.halves:
            self.close()  # TLS has no half-close
            return
        self.wired = CLOSING
        if not self.said_eof:
            self.transport.write_eof()
        self.transport.resume_reading()
        self._linger()

    def say_eof(self) -> None:
        """Half-close: no more from us. Over TLS that is the end of both ways."""
        if self.wired != OPEN or self.said_eof:
            return
        self.said_eof = True
        if not self.halves:
            self.close()
        else:
            self.transport.write_eof()

    def abort(self) -> None:
        """Close at once; unsent bytes are lost. `on_lost` follows in a later turn of the loop."""
        if self.transport is not None and self.wired != LOST:
            self.wired = CLOSING
            self.room = False
            self.sleep()
            self.transport.abort()

    def break_off(self) -> None:
        """Abort so that the peer cannot take it for the end of what was sent."""
        if self.wired == LOST:
            return
        sock = self.transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            except OSError:
                pass  # the peer was quicker
        self.abort()

    def _linger(self) -> None:
        self.room = False
        self.wake(self.wheel.clock() + self.limits.linger_seconds)

    def _settle(self) -> None:
        """A burst is full. On TCP the transport has told whether the kernel took it; over TLS the next turn tells."""
        self._burst = 0
        if self.secure and self.room:
            self.room = False
            self._settling = True
            asyncio.get_running_loop().call_soon(self._settled)

    def _settled(self) -> None:
        self._settling = False
        if self.wired == OPEN and self.transport.get_write_buffer_size() <= BURST // 4:
            self.room = True
            self.on_writable()

    def __repr__(self) -> str:
        state = ("open", "closing", "lost")[self.wired]
        return f"<{type(self).__name__} {state}{'' if self.room else ' full'}>"
