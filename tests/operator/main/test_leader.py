"""What leading is: all works together, ended together, and what is good is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from sidewinder_operator.main import leader as leading
from sidewinder_operator.main.leader import Leader
from tests.support.clock import eventually


class Part:
    """Stands for the writer, kopf and the revisions: records what is asked of it."""

    def __init__(self) -> None:
        self.running = 0
        self.forgotten = 0
        self.reads = 0
        self.written: list[Mapping[Any, Any]] = []
        self.refuse = 0

    def forget(self) -> None:
        self.forgotten += 1

    async def run(self) -> None:
        self.running += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.running -= 1

    async def read(self) -> dict[Any, Any]:
        self.reads += 1
        return {}

    async def write(self, good: Mapping[Any, Any], leader: Any) -> bool:
        if self.refuse:
            self.refuse -= 1
            return False
        self.written.append(dict(good))
        return True


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leading, "GATHER_SECONDS", 0.01)
    monkeypatch.setattr(leading, "AGAIN_SECONDS", 0.01)


def made(part: Part, *duties: Any, good: Any = dict) -> Leader:
    stand_in: Any = part
    return Leader(stand_in, stand_in, stand_in, lambda: True, good, duties)


def test_everything_runs_until_the_end_of_the_term() -> None:
    async def main() -> None:
        part, duty = Part(), Part()
        leader = made(part, duty.run)
        term = asyncio.create_task(leader.lead())
        await eventually(lambda: part.running == 2 and duty.running == 1)
        assert part.forgotten == 1
        term.cancel()
        await asyncio.gather(term, return_exceptions=True)
        assert (part.running, duty.running) == (0, 0)

    asyncio.run(main())


def test_a_work_that_fails_ends_the_term() -> None:
    async def main() -> None:
        part = Part()

        async def fails() -> None:
            await asyncio.sleep(0.01)
            raise RuntimeError("a bug")

        with pytest.raises(ExceptionGroup):
            await asyncio.wait_for(made(part, fails).lead(), 5)
        assert part.running == 0

    asyncio.run(main())


def test_what_is_good_is_kept_at_the_beginning_and_after_each_change_and_tried_again() -> None:
    async def main() -> None:
        part, good = Part(), {"a": 1}
        leader = made(part, good=lambda: good)
        part.refuse = 2
        term = asyncio.create_task(leader.lead())
        await eventually(lambda: part.written == [{"a": 1}])
        assert part.reads == 1
        good["b"] = 2
        leader.ring()
        await eventually(lambda: part.written == [{"a": 1}, {"a": 1, "b": 2}])
        term.cancel()
        await asyncio.gather(term, return_exceptions=True)

    asyncio.run(main())
