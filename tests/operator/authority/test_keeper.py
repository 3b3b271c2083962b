"""The CA's Secret through its whole life, against the fake API server: made once, followed, judged, put back."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.authority import keeper as keeping
from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.keeper import SECRET, Held, Keeper
from sidewinder_operator.authority.root import Trust, fingerprint
from sidewinder_operator.watch.reflector import Reflector
from tests.support.apiserver import FakeApiServer
from tests.support.clock import eventually

SECRETS = "/api/v1/secrets"
NOW = dt.datetime.now(dt.UTC)


class Replica:
    """A keeper with its reflector, running."""

    def __init__(self, server: FakeApiServer) -> None:
        self.api = ApiServer(server.url)
        self.reflector: Reflector[Held] = Reflector(
            self.api,
            "/api/v1/namespaces/system/secrets",
            keeping.keep,
            lambda: self.keeper.ring(),
            fields=f"metadata.name={SECRET}",
        )
        self.keeper = Keeper(
            self.api,
            "system",
            "cluster.local",
            lambda: next(iter(self.reflector.records.values()), None),
            self.reflector.synced,
            again_seconds=0.05,
        )
        self.tasks = [asyncio.create_task(self.reflector.run()), asyncio.create_task(self.keeper.run())]

    def signing(self) -> str:
        return fingerprint(self.keeper.current().signing.certificate)

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.api.close()


@asynccontextmanager
async def replicas(server: FakeApiServer, count: int) -> AsyncIterator[list[Replica]]:
    made = [Replica(server) for _ in range(count)]
    try:
        yield made
    finally:
        await asyncio.gather(*(each.stop() for each in made))


def bench(work: Callable[[FakeApiServer], Awaitable[None]]) -> None:
    async def main() -> None:
        async with FakeApiServer().serving() as server:
            await work(server)

    asyncio.run(asyncio.wait_for(main(), 30))


def secret(data: dict[str, bytes]) -> dict[str, Any]:
    told = {name: base64.b64encode(text).decode() for name, text in data.items()}
    return {"metadata": {"name": SECRET, "namespace": "system"}, "data": told}


def new() -> Trust:
    return Trust(roots.create("cluster.local", NOW))


def test_of_several_replicas_that_make_one_all_have_the_same() -> None:
    async def work(server: FakeApiServer) -> None:
        async with replicas(server, 3) as all_of_them:
            await eventually(lambda: all(each.keeper.loaded.is_set() for each in all_of_them))
            assert len({each.signing() for each in all_of_them}) == 1
            (held,) = server.all(SECRETS)
            assert held["metadata"]["labels"] == keeping.LABELS
            assert sorted(held["data"]) == ["ca.crt", "ca.key"]

    bench(work)


def test_what_a_user_brought_is_used_and_nothing_is_made() -> None:
    async def work(server: FakeApiServer) -> None:
        trust = new()
        server.put(SECRETS, secret(roots.dump(trust)))
        async with replicas(server, 1) as (replica,):
            await eventually(replica.keeper.loaded.is_set)
            assert replica.signing() == fingerprint(trust.signing.certificate)
            assert not [method for method, *_ in server.requests if method != "GET"]

    bench(work)


def test_a_rotation_is_seen_live_and_told() -> None:
    async def work(server: FakeApiServer) -> None:
        trust = new()
        server.put(SECRETS, secret(roots.dump(trust)))
        async with replicas(server, 1) as (replica,):
            seen: list[int] = []
            replica.keeper.watch(lambda told: seen.append(len(told.bundle)))
            await eventually(lambda: seen == [1])
            announced = roots.announce(trust, roots.create("cluster.local", NOW))
            server.put(SECRETS, secret(roots.dump(announced)))
            await eventually(lambda: seen == [1, 2])
            assert {use for use, _ in replica.keeper.expiries()} == {"signing", "next"}
            server.put(SECRETS, secret(roots.dump(roots.switch(announced))))
            await eventually(lambda: seen == [1, 2, 2])
            assert announced.next is not None
            assert replica.signing() == fingerprint(announced.next.certificate)
            server.put(SECRETS, secret(roots.dump(roots.switch(announced))) | {"type": "Opaque"})
            late: list[int] = []
            replica.keeper.watch(lambda told: late.append(len(told.bundle)))
            assert late == [2], "who comes later is told at once"
            assert replica.keeper.changes == 3

    bench(work)


def test_a_secret_that_cannot_be_used_leaves_the_last_good_one_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def work(server: FakeApiServer) -> None:
        trust = new()
        server.put(SECRETS, secret(roots.dump(trust)))
        async with replicas(server, 1) as (replica,):
            await eventually(replica.keeper.loaded.is_set)
            server.put(SECRETS, secret(roots.dump(new()) | {"ca.key": roots.dump(trust)["ca.key"]}))
            await eventually(lambda: "not the key of ca.crt" in replica.keeper.fault)
            assert replica.signing() == fingerprint(trust.signing.certificate)
            server.put(SECRETS, secret(roots.dump(trust)))
            await eventually(lambda: not replica.keeper.fault)

    bench(work)
    assert "the last good one serves on" in caplog.text
    assert "BEGIN" not in caplog.text


def test_without_a_good_one_it_is_not_loaded() -> None:
    async def work(server: FakeApiServer) -> None:
        server.put(SECRETS, secret({"ca.crt": b"x", "ca.key": b"y"}))
        async with replicas(server, 1) as (replica,):
            await eventually(lambda: replica.keeper.fault)
            assert "ca.crt: no PEM certificate" in replica.keeper.fault
            assert not replica.keeper.loaded.is_set()
            assert replica.keeper.expiries() == {}

    bench(work)


def test_a_deleted_secret_is_put_back_as_it_was() -> None:
    async def work(server: FakeApiServer) -> None:
        async with replicas(server, 2) as (one, other):
            await eventually(lambda: one.keeper.loaded.is_set() and other.keeper.loaded.is_set())
            before = one.signing()
            server.delete(SECRETS, SECRET, "system")
            await eventually(lambda: server.get(SECRETS, SECRET, "system"))
            await eventually(lambda: one.reflector.records and other.reflector.records)
            held = next(iter(one.reflector.records.values()))
            assert fingerprint(roots.load(held.data, NOW).signing.certificate) == before
            assert one.signing() == other.signing() == before

    bench(work)


def test_an_api_server_that_takes_none_is_told_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(server: FakeApiServer) -> None:
        taken = server._one
        refuse = [True]

        def refusing(request: Any, *rest: Any) -> Any:
            if request.method == "POST" and refuse[0]:
                from aiohttp import web

                return web.json_response({"reason": "Forbidden", "message": "no"}, status=403)
            return taken(request, *rest)

        monkeypatch.setattr(server, "_one", refusing)
        async with replicas(server, 1) as (replica,):
            await eventually(lambda: "cannot be made: 403 Forbidden" in replica.keeper.fault)
            refuse[0] = False
            await eventually(replica.keeper.loaded.is_set)
            assert replica.keeper.fault == ""

    bench(work)


def test_the_record_never_prints_what_it_holds() -> None:
    held = keeping.keep(b'{"data": {"ca.key": "c2VjcmV0", "ca.crt": ""}}')
    assert held.data == {"ca.key": b"secret", "ca.crt": b""}
    assert repr(held) == "<Held ca.crt, ca.key>"
    assert keeping.keep(b"{}").data == {}
