"""What a level-based loop waits on: somebody says that something may have changed, or a while has passed. Called by
`keeper`, `credentials` and `bundles`.

Not `asyncio.wait_for`: up to Python 3.11 that loses a cancellation which comes together with what it waits for, and a
leader that does not end keeps another from beginning.
"""

from __future__ import annotations

import asyncio


class Bell:
    """A ring that nobody waits for is heard by who waits next."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Something may have changed."""
        self._rung.set()

    async def heard(self, seconds: float) -> bool:
        """Waits until it rings; False when the time is over first."""
        ringing = asyncio.ensure_future(self._rung.wait())
        try:
            done, _ = await asyncio.wait({ringing}, timeout=seconds)
        finally:
            ringing.cancel()
        self._rung.clear()
        return bool(done)
