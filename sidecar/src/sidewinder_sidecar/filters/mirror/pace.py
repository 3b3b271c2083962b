"""How fast answers to copies are read, by all mirrors of a process together, so that the originals have the rest of it.

Asked by `shadow` with each piece; who gets no more reads on when its turn comes, at a turn of the wheel.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from sidewinder_sidecar.means import Means
    from sidewinder_sidecar.wheel import Wheel

MEMORY: Final = "mirror pace"  # where `means` keeps it
RATE: Final = 67_108_864.0  # bytes a second: to read and to digest them is a tenth of a core
BURST: Final = 4_194_304.0  # at once after a rest: 6 ms
AT_ONCE: Final = 4  # who go on in one turn: each reads 256 KB before anybody asks again


class Reader(Protocol):
    """Who reads an answer. `go_on` may come when it wants no more."""

    def go_on(self) -> None: ...


class Pace:
    """A bucket of bytes. What is read before anybody can ask is owed."""

    __slots__ = ("_at", "_held", "_room", "_wheel")

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self._room = BURST
        self._at = wheel.clock()
        self._held: deque[Reader] = deque()

    def read(self, size: int, reader: Reader) -> bool:
        """So much has come. False: it reads no more until it is told to go on."""
        self._refill(self._wheel.clock())
        self._room -= size
        if self._room >= 0:
            return True
        if not self._held:
            self._wheel.at(self._at, self)
        self._held.append(reader)
        return False

    def on_time(self, now: float) -> None:
        """The wheel: some go on."""
        self._refill(now)
        held = self._held
        for _ in range(min(AT_ONCE, len(held)) if self._room > 0 else 0):
            held.popleft().go_on()
        if held:
            self._wheel.at(now, self)

    def _refill(self, now: float) -> None:
        self._room = min(BURST, self._room + (now - self._at) * RATE)
        self._at = now

    def __repr__(self) -> str:
        return f"<Pace {self._room:.0f} bytes, {len(self._held)} held>"


def of(means: Means, wheel: Wheel) -> Pace:
    """That of the process."""
    pace: Pace | None = means.memory.get(MEMORY)
    if pace is None:
        pace = means.memory[MEMORY] = Pace(wheel)
    return pace
