"""What is told as Events beside the statuses: once, settled, again only with other words or a day later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.problems import Reference
from sidewinder_operator.status import notices as module
from sidewinder_operator.status.notices import Notice, Notices
from tests.support import kubernetes_objects as objects
from tests.support.apiserver import FakeApiServer


def missing(note: str = "1 pod runs without", name: str = "shop") -> Notice:
    return Notice(about=Reference("Namespace", name, name), uid="u1", reason="SidecarMissing", note=note)


class Bench:
    def __init__(self, server: FakeApiServer) -> None:
        self.server = server
        self.api = ApiServer(server.url)
        self.now = 0.0
        self.leading = True
        self.there: list[Notice] = []
        self.notices = Notices(
            self.api.send, lambda: self.leading, lambda: self.there, who="operator-1", clock=lambda: self.now
        )

    async def look(self, seconds: float = 30.0) -> list[str]:
        self.now += seconds
        await self.notices.once()
        return [each["note"] for each in self.server.all(objects.EVENTS)]


def bench(work: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        async with FakeApiServer().serving() as server:
            given = Bench(server)
            await work(given)
            await given.api.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_what_is_so_at_two_looks_is_told_once() -> None:
    async def work(on: Bench) -> None:
        on.there = [missing()]
        assert await on.look() == []
        assert await on.look() == ["1 pod runs without"]
        for _ in range(10):
            assert await on.look() == ["1 pod runs without"]
        found = on.server.all(objects.EVENTS)[0]
        assert found["regarding"] == {
            "apiVersion": "v1", "kind": "Namespace", "namespace": "shop", "name": "shop", "uid": "u1",
        }  # fmt: skip
        assert (found["reason"], found["type"]) == ("SidecarMissing", "Warning")
        assert found["metadata"]["namespace"] == "shop"
        assert on.notices.events == 1

    bench(work)


def test_other_words_are_told_ten_minutes_later_and_the_same_a_day_later() -> None:
    async def work(on: Bench) -> None:
        on.there = [missing()]
        await on.look()
        await on.look()
        on.there = [missing("2 pods run without")]
        assert len(await on.look()) == 1
        assert len(await on.look(600)) == 2
        assert len(await on.look(600)) == 2
        await on.look(86_400)
        assert len(await on.look()) == 3

    bench(work)


def test_what_comes_and_goes_is_not_told() -> None:
    async def work(on: Bench) -> None:
        for _ in range(5):
            on.there = [missing()]
            await on.look()
            on.there = []
            assert await on.look() == []

    bench(work)


def test_many_are_told_bit_by_bit() -> None:
    async def work(on: Bench) -> None:
        on.there = [missing(name=f"shop-{number:02}") for number in range(module.AT_ONCE + 5)]
        await on.look()
        assert len(await on.look()) == module.AT_ONCE
        assert len(await on.look()) == module.AT_ONCE + 5

    bench(work)


def test_one_that_does_not_lead_says_nothing_and_a_failure_loses_one() -> None:
    async def work(on: Bench) -> None:
        on.there, on.leading = [missing()], False
        await on.look()
        assert await on.look() == []
        on.leading, on.server.failing = True, 503
        assert await on.look() == []
        on.server.failing = 0
        assert await on.look() == []
        on.there = [missing("2 pods run without")]
        assert await on.look(600) == ["2 pods run without"]

    bench(work)
