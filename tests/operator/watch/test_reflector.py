"""Whatever happens to the API server and the way there: the records come right again, and nothing deleted lives on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.watch.reflector import Reflector
from tests.support.apiserver import FakeApiServer
from tests.support.clock import HandClock, eventually

THINGS = "/apis/example.dev/v1/things"


def thing(name: str, value: int = 0) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {"value": value}}


def keep(raw: bytes) -> tuple[str, int] | None:
    data = msgspec.json.decode(raw)
    return None if data["metadata"]["name"] == "ignored" else (data["metadata"]["name"], data["spec"]["value"])


class Bench:
    """A reflector that runs against the fake server."""

    def __init__(self, server: FakeApiServer, token_file: Path | None, **options: Any) -> None:
        self.server = server
        self.clock = HandClock()
        self.changes = 0
        self.api = ApiServer(server.url, token_file=token_file)
        self.reflector = Reflector(self.api, THINGS, keep, self._changed, clock=self.clock, **options)

    def _changed(self) -> None:
        self.changes += 1

    def known(self) -> set[tuple[str, int]]:
        return set(self.reflector.records.values())

    def true(self) -> set[tuple[str, int]]:
        found = (keep(msgspec.json.encode(each)) for each in self.server.all(THINGS))
        return {each for each in found if each is not None}

    async def right(self, seconds: float = 120.0) -> None:
        await self.clock.until(lambda: self.known() == self.true() and self.server.streams == 1, seconds)


def bench(work: Callable[[Bench], Awaitable[None]], token_file: Path | None = None, **options: Any) -> None:
    async def main() -> None:
        async with FakeApiServer().serving() as server:
            given = Bench(server, token_file, **options)
            for name in ("a", "b", "c"):
                server.put(THINGS, thing(name))
            running = asyncio.create_task(given.reflector.run())
            try:
                await work(given)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await given.api.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_everything_comes_at_once_and_then_what_changes() -> None:
    async def work(on: Bench) -> None:
        await on.right()
        assert on.reflector.synced.is_set()
        assert on.reflector.relists == 1
        on.server.put(THINGS, thing("a", 1))
        on.server.put(THINGS, thing("d"))
        on.server.delete(THINGS, "b", "shop")
        await on.right()
        assert [query for _, _, query in on.server.requests if "limit" in query] == []
        assert len(on.server.requests) == 1

    bench(work)


def test_a_server_without_watch_list_is_read_in_pages() -> None:
    async def work(on: Bench) -> None:
        await on.right()
        pages = [query for _, _, query in on.server.requests if "limit" in query]
        assert len(pages) == 2
        on.server.compact()
        on.server.delete(THINGS, "a", "shop", announce=False)
        on.server.end_streams()
        await on.right()
        watches = [query for _, _, query in on.server.requests if "sendInitialEvents" in query]
        assert len(watches) == 1  # asked once, then known

    async def off(on: Bench) -> None:
        on.server.watch_list = False
        await work(on)

    bench(off, page=2)


def test_a_page_that_has_expired_starts_the_list_again() -> None:
    async def work(on: Bench) -> None:
        on.server.watch_list = False
        on.server.expired_pages = 2
        await on.right()
        assert on.known() == {("a", 0), ("b", 0), ("c", 0)}

    bench(work, page=2)


def test_a_server_that_never_says_whole_is_read_in_pages() -> None:
    async def work(on: Bench) -> None:
        on.server.unwhole = True
        await on.clock.until(lambda: len(on.known()) == 3)
        assert not on.reflector.synced.is_set()
        on.server.end_streams()
        await on.clock.until(on.reflector.synced.is_set)

    bench(work)


@pytest.mark.parametrize("by_status", [False, True], ids=["as an event", "as a status"])
def test_after_410_what_vanished_meanwhile_is_dropped(by_status: bool) -> None:
    async def work(on: Bench) -> None:
        await on.right()
        on.server.gone_by_status = by_status
        on.server.delete(THINGS, "a", "shop", announce=False)
        on.server.put(THINGS, thing("new"), announce=False)
        on.server.compact()
        on.server.end_streams()
        await on.right()
        assert on.known() == {("b", 0), ("c", 0), ("new", 0)}
        assert on.reflector.relists == 2

    bench(work)


def test_an_object_made_anew_under_its_name_is_another() -> None:
    async def work(on: Bench) -> None:
        await on.right()
        before = set(on.reflector.records)
        on.server.delete(THINGS, "a", "shop", announce=False)
        on.server.put(THINGS, thing("a", 7), announce=False)
        on.server.compact()
        on.server.cut_streams()
        await on.right()
        assert len(on.reflector.records) == 3
        assert len(before & set(on.reflector.records)) == 2

    bench(work)


def test_a_cut_stream_goes_on_where_it_was() -> None:
    async def work(on: Bench) -> None:
        await on.right()
        on.server.put(THINGS, thing("missed"), announce=False)
        on.server.cut_streams()
        await on.right(5)
        assert on.reflector.relists == 1
        assert on.reflector.failures >= 1

    bench(work)


def test_a_bookmark_moves_the_position() -> None:
    async def work(on: Bench) -> None:
        await on.right()
        on.server.compact()
        on.server.bookmark()
        await eventually(lambda: f"at {on.server.version}" in repr(on.reflector))
        on.server.end_streams()
        await on.right()
        assert on.reflector.relists == 1  # without the bookmark its position would be too old

    bench(work)


def test_minutes_of_503_leave_the_records_and_end_in_the_truth() -> None:
    async def work(on: Bench) -> None:
        await on.right()
        known = on.known()
        on.server.failing = 503
        on.server.cut_streams()
        on.server.delete(THINGS, "c", "shop", announce=False)
        await on.clock.advance(300)
        assert on.known() == known
        assert on.reflector.synced.is_set()
        assert on.reflector.age >= 299
        tries = on.reflector.failures
        assert 20 <= tries <= 80  # a pause of 5–15 s each once it has grown
        on.server.failing = 0
        await on.right(20)
        assert on.reflector.age < 20

    bench(work)


def test_an_expired_token_is_read_anew(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")

    async def work(on: Bench) -> None:
        on.server.token = "one"
        await on.right()
        on.server.token = "two"
        on.server.put(THINGS, thing("later"), announce=False)
        on.server.cut_streams()
        await on.clock.advance(30)
        assert on.known() != on.true()
        token.write_text("two\n")
        await on.right(20)

    bench(work, token)


def test_a_stream_that_has_stalled_is_given_up() -> None:
    async def work(on: Bench) -> None:
        await on.right()
        on.server.fall_silent()
        on.server.put(THINGS, thing("unheard"))
        await eventually(lambda: on.reflector.failures >= 1)
        on.server.speak()
        await on.right()

    bench(work, inactivity=0.2)


def test_an_error_event_is_a_failure_and_a_position_that_always_fails_is_forgotten() -> None:
    async def work(on: Bench) -> None:
        await on.right()
        error = {"type": "ERROR", "object": {"kind": "Status", "code": 504, "message": "Too large resource version"}}
        for _ in range(6):
            relists = on.reflector.relists
            await on.clock.until(lambda: on.server.streams == 1)
            on.server.send(error)
            await on.clock.until(lambda: on.server.streams == 0)
            if on.reflector.relists > relists:
                break
        await on.clock.until(lambda: on.reflector.relists == 2)
        await on.right()

    bench(work)


def test_rubbish_on_the_stream_is_a_failure_like_others() -> None:
    async def work(on: Bench) -> None:
        await on.right()
        on.server.send({"no": "event"})
        await on.clock.until(lambda: on.reflector.failures == 1)
        on.server.put(THINGS, thing("after"))
        await on.right()

    bench(work)


def test_what_is_not_kept_is_not_there_and_equal_records_ring_nobody() -> None:
    async def work(on: Bench) -> None:
        await on.right()
        changes = on.changes
        on.server.put(THINGS, thing("a"))
        on.server.put(THINGS, thing("ignored"))
        on.server.put(THINGS, thing("last"))
        await on.right()
        assert on.changes == changes + 1
        assert len(on.reflector.records) == 4

    bench(work)


@pytest.mark.parametrize("seed", range(6))
def test_after_any_mixture_of_faults_it_is_right(seed: int) -> None:
    chance = random.Random(seed)

    async def work(on: Bench) -> None:
        on.server.watch_list = chance.random() < 0.7
        for _ in range(25):
            await on.clock.advance(chance.choice((0.0, 0.5, 3.0)))
            match chance.randrange(8):
                case 0:
                    on.server.cut_streams()
                case 1:
                    on.server.end_streams()
                case 2:
                    on.server.compact()
                case 3:
                    on.server.failing = chance.choice((0, 500, 503, 429))
                case 4 | 5:
                    on.server.put(THINGS, thing(chance.choice("abcdefgh"), chance.randrange(9)))
                case 6 if on.server.all(THINGS):
                    gone = chance.choice(on.server.all(THINGS))["metadata"]["name"]
                    on.server.delete(THINGS, gone, "shop")
                case _:
                    on.server.bookmark()
        on.server.failing = 0
        await on.right()

    bench(work, page=3)


@pytest.mark.parametrize("watch_list", [True, False], ids=["watched", "in pages"])
def test_one_of_a_name_alone_is_asked_for_and_known(watch_list: bool) -> None:
    async def work(on: Bench) -> None:
        on.server.watch_list = watch_list
        await on.clock.until(on.reflector.synced.is_set)
        on.server.put(THINGS, thing("a", 5))
        on.server.put(THINGS, thing("b", 5))
        await on.clock.until(lambda: on.known() == {("b", 5)})
        selected = {query.get("fieldSelector") for _, _, query in on.server.requests}
        assert selected == {"metadata.name=b"}, "who may read one by its name may not ask for all"

    bench(work, fields="metadata.name=b")
