"""The order in which first pictures are given."""

from __future__ import annotations

import asyncio
import functools

import pytest

from sidewinder_operator.discovery import newcomers
from sidewinder_operator.discovery.newcomers import Newcomer, Newcomers
from tests.support.clock import eventually


class Row:
    """Some who come, and those whose turn has come."""

    def __init__(self, most: int, coming: int) -> None:
        self.all = Newcomers(most)
        self.called: list[int] = []
        self.each: list[Newcomer] = [
            self.all.enter(functools.partial(self.called.append, number)) for number in range(coming)
        ]


def test_few_are_called_at_once_and_the_others_in_their_order() -> None:
    async def test() -> None:
        row = Row(2, 5)
        assert (row.called, row.all.waiting) == ([0, 1], 3)
        row.each[1].settle()
        assert row.called == [0, 1, 2]
        row.each[0].settle()
        row.each[2].settle()
        assert (row.called, row.all.waiting) == ([0, 1, 2, 3, 4], 0)

    asyncio.run(test())


def test_who_settles_twice_gives_back_one_place() -> None:
    async def test() -> None:
        row = Row(1, 3)
        row.each[0].settle()
        row.each[0].settle()
        assert row.called == [0, 1]

    asyncio.run(test())


def test_who_settles_before_its_turn_is_called_once_and_takes_no_place() -> None:
    async def test() -> None:
        row = Row(1, 3)
        row.each[1].settle()
        assert row.called == [0, 1]
        row.each[0].settle()
        assert row.called == [0, 1, 2]

    asyncio.run(test())


def test_whose_time_is_over_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "FIRST_SECONDS", 0.02)

    async def test() -> None:
        row = Row(1, 3)
        await eventually(lambda: row.called == [0, 1, 2])
        assert repr(row.all) == "<Newcomers 1 served, 0 waiting>"

    asyncio.run(test())
