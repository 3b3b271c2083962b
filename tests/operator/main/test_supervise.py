"""A task that dies is told and comes back; stop ends all."""

from __future__ import annotations

import asyncio

import pytest

from sidewinder_operator.main.supervise import Supervisor
from tests.support.clock import eventually


def test_a_task_that_dies_or_ends_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        supervisor = Supervisor(pause=0.01)
        starts = 0

        async def work() -> None:
            nonlocal starts
            starts += 1
            if starts == 1:
                raise RuntimeError("a bug")
            if starts == 3:
                await asyncio.Event().wait()

        supervisor.start("work", work)
        await eventually(lambda: starts == 3)
        assert supervisor.deaths == {"work": 2}
        await supervisor.stop()
        assert starts == 3

    asyncio.run(main())
    assert "the task work has died" in caplog.text
    assert "the task work has ended" in caplog.text


def test_a_task_that_loses_its_cancellation_is_cancelled_again() -> None:
    async def main() -> None:
        supervisor = Supervisor(patience=0.01)
        lost = 0

        async def work() -> None:
            nonlocal lost
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    lost += 1
                    if lost == 2:
                        raise

        supervisor.start("work", work)
        await asyncio.sleep(0)
        await asyncio.wait_for(supervisor.stop(), 5)
        assert lost == 2

    asyncio.run(main())
