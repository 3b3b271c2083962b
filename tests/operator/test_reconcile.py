"""The loop: equal input publishes nothing, a bug in one turn does not end it, bursts are one turn."""

from __future__ import annotations

import asyncio
import logging

import pytest

from sidewinder_operator.compile.compiler import Running
from sidewinder_operator.discovery.store import Store
from sidewinder_operator.mesh.workloads import WayIn
from sidewinder_operator.reconcile import Collected, Reconciler, Round
from sidewinder_operator.resources import gather
from sidewinder_operator.resources.core import Service, ServicePort, ServiceSpec
from sidewinder_operator.resources.meta import ObjectMeta


def service(name: str) -> Service:
    return Service(
        metadata=ObjectMeta(name=name, namespace="shop"), spec=ServiceSpec(ports=(ServicePort(name="http", port=80),))
    )


class World:
    """What is collected, and what was reported."""

    def __init__(self) -> None:
        self.services = [service("a")]
        self.rounds: list[Round] = []
        self.broken = False
        self.store = Store()
        self.loop = Reconciler(self.store, self.collect, self.rounds.append, debounce=0.02, longest=0.2)

    def collect(self) -> Collected:
        if self.broken:
            raise RuntimeError("a bug")
        return Collected(cluster=gather(self.services), running=Running(ways_in=(WayIn(port=8080),)))

    async def until(self, rounds: int) -> None:
        for _ in range(500):
            if len(self.rounds) >= rounds:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{len(self.rounds)} of {rounds} turns")


def test_a_turn_publishes_what_the_cluster_means_and_an_equal_one_nothing() -> None:
    world = World()
    assert world.loop.once().changed == ("Gateway/way-in",)
    assert "service/shop/a:80" in world.store.pictures["Gateway/way-in"].versions
    assert world.loop.once().changed == ()
    world.services.append(service("b"))
    assert world.loop.once().changed == ("Gateway/way-in",)
    assert world.loop.rounds == 3
    assert world.rounds[-1].problems == ()


def test_a_turn_is_due_from_the_ring_until_what_it_told_is_published() -> None:
    world = World()
    seen: list[bool] = []
    world.store.watch(lambda: seen.append(world.loop.due))
    assert not world.loop.due
    world.loop.ring()
    assert world.loop.due
    world.broken = True
    with pytest.raises(RuntimeError):
        world.loop.once()
    assert world.loop.due, "a turn that failed has published nothing"
    world.broken = False
    world.loop.once()
    assert (world.loop.due, seen) == (False, [False])


def test_a_burst_is_one_turn_and_rings_are_never_lost() -> None:
    async def main() -> None:
        world = World()
        running = asyncio.create_task(world.loop.run())
        for _ in range(50):
            world.loop.ring()
        await world.until(1)
        await asyncio.sleep(0.1)
        assert len(world.rounds) == 1
        world.loop.ring()
        await world.until(2)
        running.cancel()

    asyncio.run(main())


def test_events_without_a_pause_do_not_keep_it_from_working() -> None:
    async def main() -> None:
        world = World()
        running = asyncio.create_task(world.loop.run())

        async def ringing() -> None:
            while True:
                world.loop.ring()
                await asyncio.sleep(0.005)

        noise = asyncio.create_task(ringing())
        await world.until(2)
        noise.cancel()
        running.cancel()

    asyncio.run(main())


def test_a_bug_in_one_turn_is_logged_and_the_next_one_comes(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World()
        world.broken = True
        running = asyncio.create_task(world.loop.run())
        world.loop.ring()
        await asyncio.sleep(0.1)
        assert not running.done()
        world.broken = False
        world.loop.ring()
        await world.until(1)
        running.cancel()

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert "this turn failed" in caplog.text
