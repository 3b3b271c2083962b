"""Tokens that were verified, until they expire: by their digest, so that no memory holds one that could be used.

Each provider has its own, and a new one whenever its keys or its demands change: what another key has signed is not
remembered. Only what was accepted is kept; a caller who makes tokens up fills nothing.
"""

from __future__ import annotations

from typing import Final

from sidewinder_sidecar.filters.authenticate.verdict import Verified

MOST: Final = 10_000  # tokens
MOST_BYTES: Final = 8 << 20
OVERHEAD: Final = 500  # bytes of an entry beside its claims: digest, tuple, verdict, place in the table
SPREAD: Final = 4  # claims as objects, in times of their JSON (measured: 2.5 to 4.5)


class Remembered:
    """From digest to verdict. When it is full the oldest goes, which is the likeliest to have expired."""

    __slots__ = ("__weakref__", "_bytes", "_known", "hits")

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[float, Verified, int]] = {}
        self._bytes = 0
        self.hits = 0

    def find(self, digest: bytes, now: float) -> Verified | None:
        """What was verified, as long as it holds."""
        known = self._known.get(digest)
        if known is None:
            return None
        if now >= known[0]:
            self._bytes -= self._known.pop(digest)[2]
            return None
        self.hits += 1
        return known[1]

    def keep(self, digest: bytes, verified: Verified, until: float, length: int) -> None:
        """`length` is that of the claims as JSON."""
        size = OVERHEAD + SPREAD * length
        if (old := self._known.pop(digest, None)) is not None:
            self._bytes -= old[2]
        self._known[digest] = (until, verified, size)
        self._bytes += size
        while self._bytes > MOST_BYTES or len(self._known) > MOST:
            self._bytes -= self._known.pop(next(iter(self._known)))[2]

    def __len__(self) -> int:
        return len(self._known)

    def __repr__(self) -> str:
        return f"<Remembered {len(self._known)} tokens, {self._bytes} bytes>"
