"""A ring is heard once, waited for no longer than asked, and never in place of a cancellation."""

from __future__ import annotations

import asyncio

from sidewinder_operator.authority.bell import Bell


def test_a_ring_is_heard_once_by_who_waits_or_comes_later() -> None:
    async def main() -> None:
        bell = Bell()
        waiting = asyncio.create_task(bell.heard(10))
        await asyncio.sleep(0)
        bell.ring()
        bell.ring()
        assert await waiting
        assert not await bell.heard(0.01)
        bell.ring()
        assert await bell.heard(10)

    asyncio.run(asyncio.wait_for(main(), 5))


def test_a_cancellation_that_comes_with_a_ring_is_not_lost() -> None:
    async def main() -> None:
        for first in ("ring", "cancel"):
            bell = Bell()
            waiting = asyncio.create_task(bell.heard(10))
            await asyncio.sleep(0.01)
            if first == "ring":
                bell.ring()
                await asyncio.sleep(0)  # what waits inside is done, and who waits for that has not been told
                waiting.cancel()
            else:
                waiting.cancel()
                bell.ring()
            await asyncio.wait({waiting})
            assert waiting.cancelled(), first

    asyncio.run(asyncio.wait_for(main(), 5))
