"""The stream over real Unix sockets: who the client is, what it gets, and how streams end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import pytest

from sidewinder_operator.compile.project import Encoded, Layer
from sidewinder_operator.discovery import newcomers, server
from sidewinder_operator.discovery.newcomers import Newcomers
from sidewinder_sidecar.snapshot import stream
from tests.support.streams import HEAD, Wire, encoded, run, serving


def test_a_client_gets_its_own_picture_and_its_ack_counts() -> None:
    async def test() -> None:
        async with serving() as site:
            site.store.publish({"a": {"route/a": encoded("route/a", 1)}, "b": {"route/b": encoded("route/b", 1)}})
            wire = await Wire.open(site.path("a"))
            assert [*await wire.apply()] == ["route/a"]
            await site.until(lambda: site.acks.current("a"))
            assert site.acks.behind() == ["b"]
            site.store.publish({"a": {"route/c": encoded("route/c", 2)}, "b": {}})
            assert [*await wire.apply()] == ["route/c"]
            await site.until(lambda: site.acks.current("a"))
            wire.close()
            await site.until(lambda: not site.discovery.clients)
            assert not site.acks.current("a"), "what a client has is not known once it is gone"

    run(test)


@pytest.mark.parametrize(("left", "expected"), [(None, 0), (3600.0, 3600)])
def test_when_the_certificate_of_a_stream_ends_is_known(left: float | None, expected: int) -> None:
    async def test() -> None:
        began = time.time() if expected else 0
        async with serving(lasting=lambda request: left) as site:
            site.store.publish({"a": {"route/a": encoded("route/a", 1)}})
            wire = await Wire.open(site.path("a"))
            await wire.apply()
            await site.until(lambda: site.acks.current("a"))
            assert abs(site.acks.having["a"].until - began - expected) <= 20  # a busy machine, within `run`'s patience
            wire.close()

    run(test)


def test_after_a_restart_probers_are_heard_before_anybody_is_told_that_all_is_well() -> None:
    async def test() -> None:
        async with serving(listen_seconds=1.0) as site:
            site.store.publish(
                {"a": {"checks/self": encoded("checks/self", 1)}, "b": {"route/b": encoded("route/b", 1)}}
            )
            heard: list[object] = []
            site.acks.care(lambda: heard.append(site.acks.health()))
            caller = await Wire.open(site.path("b"), has={"route/b": "of before"})
            prober = await Wire.open(site.path("a"), has={"checks/self": "of before"})
            prober.say(stream.Health({"x": False}))
            await site.until(lambda: heard == [{"a": {"x": False}}])
            caller.say(stream.Ping(1))
            assert await caller.hear() == stream.Pong(1), "nothing before it"
            assert [*await caller.apply()] == ["route/b"]
            await prober.apply()
            await site.until(lambda: site.acks.current("a"))
            assert (len(heard), site.acks.health()) == (1, {"a": {"x": False}})
            caller.close()
            prober.close()

    run(test)


@pytest.mark.parametrize("name", ["route/b", "checks/self"])
def test_who_has_nothing_yet_waits_for_nobody_nor_does_anybody_where_nothing_is_checked(name: str) -> None:
    async def test() -> None:
        async with serving(listen_seconds=1000.0) as site:
            site.store.publish({"a": {}, "b": {name: encoded(name, 1)}})
            wire = await Wire.open(site.path("b"), has={} if name == "checks/self" else {name: "of before"})
            assert [*await wire.apply()] == [name]
            wire.close()

    run(test)


def test_a_stranger_is_refused() -> None:
    async def test() -> None:
        async with serving() as site:
            reader, writer = await asyncio.open_unix_connection(str(site.path("stranger")))
            writer.write(HEAD)
            assert b" 403 " in await reader.readline()
            writer.transport.abort()

    run(test)


def test_a_change_wakes_a_quiet_stream_and_equal_publishing_does_not() -> None:
    async def test() -> None:
        async with serving() as site:
            wire = await Wire.open(site.path("a"))
            site.store.publish({"a": {"route/a": encoded("route/a", 1)}})
            await wire.apply()
            site.store.publish({"a": {"route/a": encoded("route/a", 1)}})
            wire.say(stream.Ping(1))
            assert await wire.hear() == stream.Pong(1)
            wire.close()

    run(test)


def test_a_reconnect_with_the_same_state_is_an_empty_commit() -> None:
    async def test() -> None:
        async with serving() as site:
            site.store.publish({"a": {"route/a": encoded("route/a", 1)}})
            first = await Wire.open(site.path("a"))
            await first.apply()
            second = await Wire.open(site.path("a"), epoch=2, has=first.has)
            assert isinstance(await second.hear(), stream.Begin)
            assert isinstance(await second.hear(), stream.Commit)
            gone = await first.hear()
            assert isinstance(gone, stream.Goodbye)
            assert "replaced" in gone.goodbye
            first.close()
            second.close()

    run(test)


@pytest.mark.parametrize(
    ("line", "why"),
    [(b"nonsense\n", "not a JSON object"), (b'{"hallo":1}\n', "no known message"), (b'{"ack":9,"state":""}\n', "ack")],
    ids=["no JSON", "unknown", "out of place"],
)
def test_a_malformed_line_ends_the_stream_with_the_reason(line: bytes, why: str) -> None:
    async def test() -> None:
        async with serving() as site:
            wire = await Wire.open(site.path("a"))
            wire.raw(line)
            message = await wire.hear()
            assert isinstance(message, stream.Goodbye)
            assert why in message.goodbye
            assert await wire.hear() is None
            wire.close()

    run(test)


def test_a_line_without_end_is_bounded() -> None:
    async def test() -> None:
        async with serving() as site:
            wire = await Wire.open(site.path("a"))
            for _ in range(stream.LONGEST_LINE // 65536 + 1):
                wire.raw(b"x" * 65536)
                await wire.writer.drain()
            message = await wire.hear()
            assert isinstance(message, stream.Goodbye)
            assert "bytes" in message.goodbye
            wire.close()

    run(test)


def test_a_client_that_does_not_read_is_dropped() -> None:
    async def test() -> None:
        async with serving(drain_seconds=0.2) as site:
            wire = await Wire.open(site.path("a"))
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
            big = "x" * 1_000_000
            site.store.publish({"a": {f"route/{n}": encoded(f"route/{n}", big) for n in range(20)}})
            await site.until(lambda: not site.discovery.clients)
            wire.close()

    run(test)


def test_a_silent_client_is_dropped_after_three_missed_pings() -> None:
    async def test() -> None:
        async with serving(ping_seconds=0.05) as site:
            wire = await Wire.open(site.path("a"))
            assert [await wire.hear() for _ in range(3)] == [stream.Ping(1), stream.Ping(2), stream.Ping(3)]
            assert await wire.hear() is None
            wire.close()

    run(test)


def test_a_last_resort_says_for_itself_that_it_ends() -> None:
    async def test() -> None:
        told: list[str] = []
        async with serving(resigned=told.append) as site:
            site.store.publish({"a": {"route/a": encoded("route/a", 1)}})
            wire = await Wire.open(site.path("a"))
            await wire.apply()
            wire.say(stream.Resigned(5.5))
            await site.until(lambda: bool(told))
            assert told == ["a"]
            wire.close()

    run(test)


def test_a_rejection_is_told_once_and_the_rest_gets_through() -> None:
    async def test() -> None:
        told: list[list[str]] = []
        async with serving(rejected=lambda workload, session: told.append([workload, *session.rejections])) as site:
            good, bad = encoded("route/good", 1), encoded("route/bad", 1)
            site.store.publish({"a": {good.name: good, bad.name: bad}})
            wire = await Wire.open(site.path("a"))
            while not isinstance(message := await wire.hear(), stream.Commit):
                pass
            wire.say(stream.Nack(nack=message.commit, state="", resource="route/bad", field="x", why="cannot"))
            await wire.apply()
            await site.until(lambda: bool(site.acks.having.get("a") and site.acks.having["a"].versions))
            assert [*site.acks.having["a"].versions] == ["route/good"]
            assert told == [["a", "route/bad"]]
            wire.close()

    run(test)


def test_what_is_wanted_comes_or_is_unknown_and_is_wanted_again_by_who_comes_back() -> None:
    async def test() -> None:
        async with serving() as site:
            elsewhere = {f"service/far/{name}:80": encoded(f"service/far/{name}:80", name) for name in "xy"}
            site.store.show(Lazy({"a": {"service/a": encoded("service/a", 1)}}, elsewhere))
            wire = await Wire.open(site.path("a"))
            await wire.apply()
            wire.say(stream.Want(("service/far/x:80", "10.0.0.9:80")))
            unknown = await wire.until(stream.Unknown)
            assert unknown.unknown == ("10.0.0.9:80",)
            assert "service/far/x:80" in await wire.apply()
            wire.close()
            await site.until(lambda: not site.discovery.clients)
            assert site.store.pictures["a"].resources.keys() == {"service/a"}, "nobody is there who wants more"
            again = await Wire.open(site.path("a"), epoch=2, has=wire.has)
            assert "service/far/x:80" in await again.apply(), "it was not taken away in between"
            again.close()

    run(test)


class Lazy:
    """Pictures that grow by what is wanted elsewhere, one layer a resource."""

    def __init__(self, own: dict[str, dict[str, Encoded]], elsewhere: dict[str, Encoded]) -> None:
        self._own = {workload: Layer(resources) for workload, resources in own.items()}
        self._elsewhere = {name: Layer({name: one}) for name, one in elsewhere.items()}

    def identities(self) -> tuple[str, ...]:
        return tuple(self._own)

    def layers(self, identity: str, wants: Iterable[str] = ()) -> tuple[Layer, ...]:
        return (self._own[identity], *(self._elsewhere[name] for name in dict.fromkeys(wants)))

    def find(self, identity: str, key: str) -> tuple[str, ...]:
        return (key,) if key in self._elsewhere else ()

    def settle(self) -> None:
        pass


def test_who_knows_nothing_yet_does_not_say_what_there_is() -> None:
    async def test() -> None:
        async with serving() as site:
            wire = await Wire.open(site.path("a"))
            wire.say(stream.Want(("service/far/x:80",)))
            wire.say(stream.Ping(1))
            assert await wire.hear() == stream.Pong(1)
            one = encoded("service/far/x:80", 1)
            site.store.show(Lazy({"a": {}}, {one.name: one}))
            assert [*await wire.apply()] == [one.name]
            wire.close()

    run(test)


def test_so_many_get_their_first_picture_at_a_time_and_the_others_wait_on_their_streams() -> None:
    async def test() -> None:
        async with serving(newcomers=Newcomers(1)) as site:
            site.store.publish({one: {f"route/{one}": encoded(f"route/{one}", 1)} for one in "ab"})
            first, second = await Wire.open(site.path("a")), await Wire.open(site.path("b"))
            second.say(stream.Ping(7))
            assert await second.hear() == stream.Pong(7), "it is answered, and has no transaction before that"
            site.store.publish({one: {f"route/{one}": encoded(f"route/{one}", 2)} for one in "ab"})
            second.say(stream.Ping(8))
            assert await second.hear() == stream.Pong(8), "nor does a change get it in before its turn"
            await first.apply()
            assert [*await second.apply()] == ["route/b"]
            second.close()
            first.close()

    run(test)


@pytest.mark.parametrize("leaves", [True, False])
def test_who_is_gone_or_never_acknowledges_stands_in_nobodys_way(leaves: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "FIRST_SECONDS", 60.0 if leaves else 0.1)

    async def test() -> None:
        async with serving(newcomers=Newcomers(1)) as site:
            site.store.publish({one: {f"route/{one}": encoded(f"route/{one}", 1)} for one in "ab"})
            first, second = await Wire.open(site.path("a")), await Wire.open(site.path("b"))
            if leaves:
                first.close()
            assert [*await second.apply()] == ["route/b"]
            first.close()
            second.close()

    run(test)


def test_a_large_picture_goes_out_in_small_writes() -> None:
    async def test() -> None:
        async with serving() as site:
            site.store.publish({"a": {f"route/{n}": encoded(f"route/{n}", "x" * 999) for n in range(100)}})
            reader, writer = await asyncio.open_unix_connection(str(site.path("a")))
            wire = Wire(reader, writer)
            writer.write(HEAD)
            wire.say(stream.Greeting(stream.Hello(epoch=1)))
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            sizes, whole = [], b""
            while b'"commit"' not in whole:
                sizes.append(int(await asyncio.wait_for(reader.readuntil(b"\r\n"), 5), 16))
                whole += (await reader.readexactly(sizes[-1] + 2))[:-2]
            assert max(sizes) <= server.WRITE_BYTES
            assert whole.count(b"\n") == 102
            wire.close()

    run(test)


def test_who_gets_nothing_yet_stands_in_nobodys_way_and_gets_it_when_it_is_there() -> None:
    async def test() -> None:
        async with serving(newcomers=Newcomers(1)) as site:
            first, second = await Wire.open(site.path("a")), await Wire.open(site.path("b"))
            await site.until(lambda: not site.discovery.newcomers.waiting)
            site.store.publish({one: {f"route/{one}": encoded(f"route/{one}", 1)} for one in "ab"})
            assert [*await first.apply()] == ["route/a"]
            assert [*await second.apply()] == ["route/b"]
            first.close()
            second.close()

    run(test)
