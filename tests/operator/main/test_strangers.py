"""Turns are fair between addresses, bounded in all, and never lost with somebody who goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sidewinder_operator.main import strangers
from sidewinder_operator.main.strangers import Crowded, Strangers


class Crowd:
    """Who has entered, in order."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self.made = Strangers(most, most_of_one)
        self.inside: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str) -> None:
        """A name is an address and a number: a1."""
        for name in names:
            self.tasks[name] = asyncio.create_task(self._enter(name))
            await asyncio.sleep(0)

    async def _enter(self, name: str) -> None:
        await self.made.enter(name[0])
        self.inside.append(name)

    async def go(self, *names: str) -> None:
        for name in names:
            self.inside.remove(name)
            self.made.leave(name[0])
            await asyncio.sleep(0)


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 10))


def test_one_address_takes_only_its_part_and_others_enter_at_once() -> None:
    async def work() -> None:
        crowd = Crowd(4, 2)
        await crowd.come("a1", "a2", "a3", "b1", "c1")
        assert crowd.inside == ["a1", "a2", "b1", "c1"]
        await crowd.go("b1")
        assert crowd.inside == ["a1", "a2", "c1"]
        await crowd.go("a1")
        assert crowd.inside == ["a2", "c1", "a3"]
        assert repr(crowd.made) == "<Strangers 3 inside, 0 waiting>"

    run(work)


def test_who_waits_is_called_address_by_address() -> None:
    async def work() -> None:
        crowd = Crowd(2, 2)
        await crowd.come("a1", "a2", "a3", "a4", "a5", "b1", "c1", "b2")
        assert crowd.inside == ["a1", "a2"]
        order = []
        while crowd.inside:
            await crowd.go(crowd.inside[0])
            order += [name for name in crowd.inside if name not in order]
        assert order == ["a2", "a3", "b1", "c1", "a4", "b2", "a5"]
        assert repr(crowd.made) == "<Strangers 0 inside, 0 waiting>"

    run(work)


def test_who_goes_away_while_waiting_or_being_called_takes_no_turn() -> None:
    async def work() -> None:
        crowd = Crowd(1, 1)
        await crowd.come("a1", "a2", "b1", "b2")
        crowd.tasks["a2"].cancel()
        await asyncio.sleep(0)
        crowd.made.leave("a")
        crowd.tasks["b1"].cancel()  # it has been called and has not heard of it
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert crowd.inside == ["a1", "b2"]
        assert repr(crowd.made) == "<Strangers 1 inside, 0 waiting>"

    run(work)


def test_who_waits_is_bounded_for_one_address_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "MOST_WAITING_OF_ONE", 2)
    monkeypatch.setattr(strangers, "MOST_WAITING", 3)

    async def work() -> None:
        crowd = Crowd(1, 1)
        await crowd.come("a1", "a2", "a3")
        with pytest.raises(Crowded):
            await crowd.made.enter("a")
        await crowd.come("b1")
        with pytest.raises(Crowded):
            await crowd.made.enter("c")
        for task in crowd.tasks.values():
            task.cancel()

    run(work)
