"""The start of a request's body, kept until an answer began: what a retry sends again. Made and asked by the exchange.

Only for a request that may be retried and has a body, and while a filter waits. Nothing else in the proxy buffers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidewinder_sidecar.fields import Fields
    from sidewinder_sidecar.messages import Attempt, Tap

BOUND: Final = 65536  # bytes: JSON calls fit, uploads do not; a thousand retried at once hold 64 MB at the worst
# While a filter waits the caller is paused, but what one read brought is here already: 256 KiB on uvloop.
READ: Final = 262_144


class Replay:
    """`keep` what comes until it returns False; `play` it into a try as often as needed."""

    __slots__ = ("_bound", "_chunks", "_ended", "_size", "_trailers")

    def __init__(self, bound: int = BOUND) -> None:
        self._bound = bound
        self._chunks: list[bytes] = []
        self._size = 0
        self._ended = False
        self._trailers: Fields | None = None

    def keep(self, data: bytes) -> bool:
        """False when it is more than can be kept: then it is of no use any more."""
        self._size += len(data)
        if self._size > self._bound:
            self._chunks.clear()
            return False
        if data:
            self._chunks.append(data)
        return True

    def fits(self) -> bool:
        """Whether it is little enough to be kept for a retry, once nobody waits for a filter any more."""
        self._bound = BOUND
        return self._size <= BOUND

    def end(self, trailers: Fields | None) -> None:
        """The body is whole."""
        self._ended = True
        self._trailers = trailers

    def play(self, attempt: Attempt | Tap) -> bool:
        """Send what there is; False when the try takes no more (all was handed over all the same: it is little).

        A piece of nothing tells the try that there is nothing yet, so that it lets its head go.
        """
        writable = True
        for chunk in self._chunks or (() if self._ended else (b"",)):
            writable = attempt.send_data(chunk)
        if self._ended:
            attempt.send_end(self._trailers)
        return writable

    def __repr__(self) -> str:
        return f"<Replay {self._size} bytes{'' if self._ended else ' so far'}>"
