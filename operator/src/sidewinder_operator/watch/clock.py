"""Time as an argument: what reflectors and the Lease wait by, so that tests drive minutes by hand."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic time in seconds, and how to wait in it."""

    def now(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class Monotonic:
    """The machine's."""

    def now(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Lets others run for so long."""
        await asyncio.sleep(seconds)
