"""kopf runs in its own thread, marks in our loop, ends when told and comes back when it ends by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sidewinder_operator.handlers import thread
from sidewinder_operator.handlers.thread import Handlers
from sidewinder_operator.problems import Reference
from tests.support import kubernetes_objects as objects
from tests.support.apiserver import FakeApiServer
from tests.support.clock import eventually


class Bench:
    """kopf against the fake server."""

    def __init__(self, server: FakeApiServer, token: Path) -> None:
        self.server = server
        self.token = token
        self.marked: list[tuple[Reference, str]] = []
        self.threads: set[str] = set()
        self.handlers = Handlers(server.url, token, None, self._mark)
        self.task = asyncio.create_task(self.handlers.run())

    def _mark(self, reference: Reference, version: str) -> None:
        self.threads.add(threading.current_thread().name)
        self.marked.append((reference, version))


def kopf_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "kopf"]


def bench(tmp_path: Path, work: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        async with FakeApiServer().serving() as server:
            token = tmp_path / "token"
            token.write_text("one")
            server.token = "one"
            given = Bench(server, token)
            try:
                await work(given)
            finally:
                given.task.cancel()
                await asyncio.gather(given.task, return_exceptions=True)

    asyncio.run(asyncio.wait_for(main(), 40))
    assert kopf_threads() == []


def test_what_is_there_and_what_changes_is_marked_in_our_loop(tmp_path: Path) -> None:
    async def work(on: Bench) -> None:
        on.server.put(objects.ROUTES, objects.route("a", "reviews", "reviews"))
        await eventually(lambda: on.marked, 15)
        made = on.server.put(objects.ROUTES, objects.route("b", "reviews", "reviews"))
        await eventually(lambda: (Reference("ApiRoute", "shop", "b"), made["metadata"]["resourceVersion"]) in on.marked)
        assert on.threads == {threading.current_thread().name}
        assert [body for method, _, body in on.server.bodies if method != "GET"] == []  # nothing is written

    bench(tmp_path, work)


def test_it_ends_when_told_and_leaves_no_thread(tmp_path: Path) -> None:
    async def work(on: Bench) -> None:
        await eventually(lambda: on.server.streams >= 3, 15)
        began = asyncio.get_running_loop().time()
        on.task.cancel()
        await asyncio.gather(on.task, return_exceptions=True)
        assert asyncio.get_running_loop().time() - began < thread.PATIENCE

    bench(tmp_path, work)


@pytest.mark.parametrize("seconds", [0.0, 0.005, 0.02])
def test_it_ends_while_it_starts(tmp_path: Path, seconds: float) -> None:
    async def work(on: Bench) -> None:
        await asyncio.sleep(seconds)
        began = asyncio.get_running_loop().time()
        on.task.cancel()
        await asyncio.gather(on.task, return_exceptions=True)
        assert asyncio.get_running_loop().time() - began < thread.PATIENCE + thread.INSISTENCE

    bench(tmp_path, work)


def test_it_is_started_again_when_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread, "SHORTEST_PAUSE", 0.05)

    async def work(on: Bench) -> None:
        real = on.handlers._kopf

        async def broken(*arguments: object) -> None:
            on.handlers._kopf = real  # type: ignore[method-assign]
            raise RuntimeError("kopf has a bad day")

        on.handlers._kopf = broken  # type: ignore[method-assign]
        await eventually(lambda: on.handlers.starts == 2 and on.server.streams >= 3, 15)

    bench(tmp_path, work)


def test_the_settings_are_those_of_the_design() -> None:
    found = thread.settings()
    assert found.peering.standalone
    assert found.scanning.disabled
    assert found.queueing.worker_limit is None
    assert sum(found.networking.error_backoffs) >= 120
    assert not found.posting.enabled
    assert found.persistence.finalizer.startswith(thread.PREFIX)
