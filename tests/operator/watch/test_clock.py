"""The machine's time goes on while one sleeps in it."""

from __future__ import annotations

import asyncio

from sidewinder_operator.watch.clock import Monotonic


def test_sleeping_takes_the_time_that_now_tells() -> None:
    clock = Monotonic()
    before = clock.now()
    asyncio.run(clock.sleep(0.01))
    assert clock.now() - before >= 0.01
