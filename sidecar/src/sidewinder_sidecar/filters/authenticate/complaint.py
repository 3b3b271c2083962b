"""Tells the log why somebody cannot be asked, seldom: a server that is away fails every request alike."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Final

log = logging.getLogger("sidewinder.authentication")

SECONDS: Final = 30.0  # between two lines about the same provider; the counts between them are in the metrics


class Complaint:
    """One provider's. `about` names policy and provider."""

    __slots__ = ("_about", "_clock", "_held", "_next")

    def __init__(self, about: str, clock: Callable[[], float] = monotonic) -> None:
        self._about = about
        self._clock = clock
        self._next = 0.0
        self._held = 0  # what was not told since

    def tell(self, why: str) -> None:
        """Why it failed, without anything of the credential."""
        now = self._clock()
        if now < self._next:
            self._held += 1
            return
        more = f" ({self._held} more since the last line)" if self._held else ""
        self._next, self._held = now + SECONDS, 0
        log.warning("%s: %s%s", self._about, why, more)
