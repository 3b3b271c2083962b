"""Statuses against a server: on change alone, by the leader alone, times kept, an object each at most once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import pytest

from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.compile.conditions import Condition, Status
from sidewinder_operator.discovery.acks import Standing
from sidewinder_operator.problems import Reference
from sidewinder_operator.status import writer as module
from sidewinder_operator.status.content import Told
from sidewinder_operator.status.writer import Writer
from sidewinder_operator.watch.kinds import path_of
from tests.support import kubernetes_objects as objects
from tests.support.apiserver import FakeApiServer
from tests.support.clock import eventually

WELL = Condition(type="Accepted", status="True", reason="Accepted")
CONFLICT = Condition(type="Accepted", status="False", reason="Conflicted", message="another came first")


class Bench:
    """A writer, what it is told, and the server that it writes to."""

    def __init__(self, server: FakeApiServer) -> None:
        self.server = server
        self.api = ApiServer(server.url)
        self.standing = Standing(required=2, acknowledged=1, missing=("u2",))
        self.ejected: tuple[dict[str, Any], ...] = ()
        self.leading = True
        self.writer = self.fresh()

    def fresh(self) -> Writer:
        return Writer(self.api.send, path_of, lambda: self.leading, self._told, who="operator-1")

    def _told(self, sources: Collection[Reference]) -> dict[Reference, Told]:
        return {source: Told(standing=self.standing, ejected=self.ejected) for source in sources}

    def route(self, name: str = "a") -> Reference:
        self.server.put(objects.ROUTES, objects.route(name, "reviews", "reviews"))
        return Reference("ApiRoute", "shop", name)

    def offer(self, *references: Reference, condition: Condition = WELL, writer: Writer | None = None) -> None:
        numbers = {reference: (self.there(reference)["metadata"]["uid"], 1) for reference in references}
        status = Status(observed_generation=1, conditions=(condition,))
        (writer or self.writer).offer(dict.fromkeys(references, status), numbers)

    def there(self, reference: Reference) -> dict[str, Any]:
        found = self.server.get(objects.ROUTES, reference.name, reference.namespace)
        assert found is not None
        return found

    def patches(self) -> int:
        return sum(method == "PATCH" for method, _, _ in self.server.requests)

    def events(self) -> list[str]:
        return [each["reason"] for each in self.server.all(objects.EVENTS)]


def bench(work: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        async with FakeApiServer().serving() as server:
            given = Bench(server)
            await work(given)
            await given.api.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_what_differs_is_written_once_by_server_side_apply() -> None:
    async def work(on: Bench) -> None:
        route = on.route()
        on.offer(route)
        assert await on.writer.once()
        assert on.there(route)["status"]["proxies"] == {"required": 2, "acknowledged": 1, "rejected": 0}
        method, path, query = on.server.requests[-1]
        assert (method, path) == ("PATCH", f"{objects.OURS}/namespaces/shop/apiroutes/a/status")
        assert query == {"fieldManager": "sidewinder-operator", "force": "true"}
        requests = len(on.server.requests)
        on.offer(route)
        assert await on.writer.once()
        assert len(on.server.requests) == requests
        assert on.events() == []

    bench(work)


def test_an_object_is_written_at_most_once_a_second_and_the_last_word_counts() -> None:
    async def work(on: Bench) -> None:
        route = on.route()
        running = asyncio.create_task(on.writer.run())
        on.offer(route)
        await eventually(lambda: on.patches() == 1)
        began = asyncio.get_running_loop().time()
        for count in range(30):
            on.standing = Standing(required=30, acknowledged=count + 1)
            on.writer.ring()
            await asyncio.sleep(0.01)
        await eventually(lambda: on.there(route)["status"]["proxies"]["acknowledged"] == 30)
        assert asyncio.get_running_loop().time() - began >= 0.8
        assert on.patches() == 2
        running.cancel()

    bench(work)


def test_what_flaps_is_written_every_ten_seconds_and_what_else_differs_goes_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "OBJECT_SECONDS", 0.01)
    monkeypatch.setattr(module, "EJECTED_SECONDS", 0.6)

    async def work(on: Bench) -> None:
        route = on.route()
        running = asyncio.create_task(on.writer.run())
        on.offer(route)
        await eventually(lambda: on.patches() == 1)
        began = asyncio.get_running_loop().time()
        number = 0
        while asyncio.get_running_loop().time() - began < 1.0:
            number += 1
            on.ejected = ({"endpoint": "10.0.0.1:80", "proxies": number},)
            on.writer.ring()
            await asyncio.sleep(0.02)
        assert on.patches() <= 4, f"of {number} times that it was another"
        await eventually(
            lambda: on.there(route)["status"].get("ejected") == [{"endpoint": "10.0.0.1:80", "proxies": number}]
        )
        monkeypatch.setattr(module, "EJECTED_SECONDS", 3600.0)
        before = on.patches()
        on.standing, on.ejected = Standing(required=2, acknowledged=2), ()
        on.writer.ring()
        await eventually(lambda: on.patches() == before + 1)  # what a rollout waits for does not wait for breakers
        assert "ejected" not in on.there(route)["status"]
        running.cancel()

    bench(work)


def test_a_new_leader_writes_nothing_that_stands_there_and_tells_nothing_twice() -> None:
    async def work(on: Bench) -> None:
        route = on.route()
        on.offer(route, condition=CONFLICT)
        await on.writer.once()
        assert on.events() == ["Conflicted"]
        next_ = on.fresh()
        on.offer(route, condition=CONFLICT, writer=next_)
        await next_.once()
        assert on.patches() == 1
        assert on.events() == ["Conflicted"]

    bench(work)


def test_who_does_not_lead_writes_nothing() -> None:
    async def work(on: Bench) -> None:
        on.leading = False
        on.offer(on.route())
        assert await on.writer.once()
        assert on.server.requests == []
        on.leading = True
        assert await on.writer.once()
        assert on.patches() == 1

    bench(work)


def test_losing_the_lease_while_reading_keeps_it_from_writing() -> None:
    async def work(on: Bench) -> None:
        send = on.api.send

        async def slow(method: str, *arguments: Any, **named: Any) -> bytes:
            answer = await send(method, *arguments, **named)
            on.leading = False
            return answer

        on.api.send = slow  # type: ignore[method-assign]
        on.writer = on.fresh()
        on.offer(on.route())
        await on.writer.once()
        assert on.patches() == 0

    bench(work)


def test_a_status_that_somebody_else_changes_comes_right_again() -> None:
    async def work(on: Bench) -> None:
        route = on.route()
        on.offer(route)
        await on.writer.once()
        there = on.there(route)
        on.writer.mark(route, there["metadata"]["resourceVersion"])  # our own write is seen by the handlers too
        requests = len(on.server.requests)
        await on.writer.once()
        assert len(on.server.requests) == requests
        on.server.put(objects.ROUTES, {**there, "status": {"proxies": {"required": 99}}})
        on.writer.mark(route, on.there(route)["metadata"]["resourceVersion"])
        await asyncio.sleep(1.0)
        await on.writer.once()
        assert on.there(route)["status"]["proxies"]["required"] == 2

    bench(work)


def test_an_object_of_the_same_name_is_another_and_one_that_is_gone_no_failure() -> None:
    async def work(on: Bench) -> None:
        route, gone = on.route(), on.route("gone")
        on.offer(route, gone)
        on.server.delete(objects.ROUTES, "gone", "shop")
        on.server.delete(objects.ROUTES, "a", "shop")
        on.route()
        assert await on.writer.once()
        assert "status" not in on.there(route)
        assert on.writer.failures == 0

    bench(work)


def test_failures_are_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def work(on: Bench) -> None:
        route = on.route()
        on.offer(route)
        on.server.failing = 503
        assert not await on.writer.once()
        assert on.writer.failures == 1
        running = asyncio.create_task(on.writer.run())
        await eventually(lambda: on.writer.failures >= 2)
        on.server.failing = 0
        await eventually(lambda: on.patches() >= 1 and "status" in on.there(route))
        running.cancel()

    bench(work)
    assert "the status of ApiRoute shop/a: 503" in caplog.text


def test_many_objects_are_written_a_few_at_once() -> None:
    async def work(on: Bench) -> None:
        routes = [on.route(f"r{number}") for number in range(40)]
        on.offer(*routes)
        assert await on.writer.once()
        assert on.writer.writes == 40
        on.writer.offer({}, {})
        await on.writer.once()

    bench(work)


def test_a_moment_in_which_too_little_is_known_is_waited_for_but_not_a_row_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(on: Bench) -> None:
        unsure = True
        on.writer = Writer(on.api.send, path_of, lambda: True, on._told, who="operator-1", hold=lambda: unsure)
        route = on.route()
        running = asyncio.create_task(on.writer.run())
        on.offer(route)
        await asyncio.sleep(0.8)
        assert on.patches() == 0
        unsure = False
        await eventually(lambda: on.patches() == 1)
        unsure = True
        monkeypatch.setattr(module, "HOLD_SECONDS", 0.5)
        on.standing = Standing(required=2, acknowledged=2)
        on.writer.ring()
        await eventually(lambda: on.patches() == 2)
        running.cancel()

    bench(work)
