"""What was good last survives every restart, is written by the leader alone, and only when it differs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sidewinder_operator.apiserver import ApiServer, Refused
from sidewinder_operator.problems import Reference
from sidewinder_operator.resources import Object
from sidewinder_operator.resources.read import read
from sidewinder_operator.watch.revisions import Revisions
from tests.support import kubernetes_objects as objects
from tests.support.apiserver import FakeApiServer


def route(name: str, generation: int = 1, backend: str = "reviews") -> Object:
    raw = objects.route(name, "reviews", backend, generation=generation)
    found = read({**raw, "apiVersion": "sidewinder.dev/v1alpha1", "kind": "ApiRoute"}).found
    assert found is not None
    return found


def good(*things: Object) -> dict[Reference, Object]:
    return {thing.reference: thing for thing in things}


def bench(work: Callable[[FakeApiServer, Revisions, ApiServer], Awaitable[None]]) -> None:
    async def main() -> None:
        async with FakeApiServer().serving() as server:
            api = ApiServer(server.url)
            await work(server, Revisions(api, "system"), api)
            await api.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_what_is_written_is_read_by_the_next() -> None:
    async def work(server: FakeApiServer, revisions: Revisions, api: ApiServer) -> None:
        things = good(route("a"), route("b", 4))
        assert await revisions.write(things, lambda: True)
        assert await Revisions(api, "system").read() == things
        posts = len(server.bodies)
        assert await revisions.write(things, lambda: True)
        assert len(server.bodies) == posts
        changed = good(route("a", 2, "other"))
        assert await revisions.write(changed, lambda: True)
        assert await Revisions(api, "system").read() == changed
        assert len(server.all(objects.REVISIONS)) == 1

    bench(work)


def test_of_two_the_newer_counts_and_rubbish_is_passed_over() -> None:
    async def work(server: FakeApiServer, revisions: Revisions, api: ApiServer) -> None:
        await revisions.write(good(route("a", 3)), lambda: True)
        left = Revisions(api, "system")  # a leader that ended between making the new one and removing the old one
        await left.write(good(route("a", 2, "older")), lambda: True)
        server.put(objects.REVISIONS, {"metadata": {"name": "odd", "namespace": "system"}, "data": {"kind": 1}})
        fresh = Revisions(api, "system")
        assert await fresh.read() == good(route("a", 3))
        assert await fresh.write(good(route("a", 3)), lambda: True)
        assert len(server.all(objects.REVISIONS)) == 1

    bench(work)


def test_who_does_not_lead_writes_nothing() -> None:
    async def work(server: FakeApiServer, revisions: Revisions, api: ApiServer) -> None:
        assert not await revisions.write(good(route("a")), lambda: False)
        assert server.all(objects.REVISIONS) == []

    bench(work)


def test_a_failure_is_told_and_tried_again_from_where_it_was() -> None:
    async def work(server: FakeApiServer, revisions: Revisions, api: ApiServer) -> None:
        server.failing = 503
        assert not await revisions.write(good(route("a")), lambda: True)
        with pytest.raises(Refused):
            await revisions.read()
        server.failing = 0
        assert await revisions.write(good(route("a")), lambda: True)
        assert await revisions.read() == good(route("a"))

    bench(work)
