import asyncio

import pytest

from sidewinder_sidecar.main.supervise import Supervisor, every


def test_a_task_that_dies_is_seen_and_started_again(caplog):
    async def run():
        supervisor = Supervisor(pause=0.0)
        lives = []
        thrice = asyncio.Event()

        async def work():
            lives.append(1)
            if len(lives) == 3:
                thrice.set()
                await asyncio.sleep(60)
            if len(lives) == 2:
                return
            raise ZeroDivisionError

        supervisor.start("work", work)
        await asyncio.wait_for(thrice.wait(), 5)
        await supervisor.stop()
        return supervisor.deaths

    assert asyncio.run(run()) == {"work": 2}
    assert "the task work has died" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "the task work has ended" in caplog.text


def test_stop_is_repeated_for_who_lost_it():
    async def run():
        supervisor = Supervisor()
        lost = []

        async def deaf():
            while len(lost) < 2:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    lost.append(1)
            await asyncio.sleep(60)

        supervisor.start("deaf", deaf)
        await asyncio.sleep(0)
        await asyncio.wait_for(supervisor.stop(), 5)
        return len(lost)

    assert asyncio.run(run()) == 2


def test_stop_with_nothing_to_stop():
    asyncio.run(Supervisor().stop())


def test_every():
    async def run():
        seen = []

        def work():
            seen.append(1)
            if len(seen) == 3:
                raise LookupError

        with pytest.raises(LookupError):
            await asyncio.wait_for(every(0.001, work), 5)
        return len(seen)

    assert asyncio.run(run()) == 3
