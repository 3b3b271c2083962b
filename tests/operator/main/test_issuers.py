"""Keys in several replicas: one fetches, all serve the same, and whoever hears of an unknown key tells the one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.issuers import keeper as keeping
from sidewinder_operator.issuers.fetch import Fetcher
from sidewinder_operator.issuers.shelf import Kept, dump
from sidewinder_operator.main import issuers as module
from sidewinder_operator.main.issuers import CONFIG_MAP, STALE, Issuers, keep
from sidewinder_operator.resources.keys import Fetched, Wanted
from sidewinder_sidecar.snapshot.jwks import judge
from tests.support.apiserver import FakeApiServer
from tests.support.clock import eventually
from tests.support.key_server import Issuer
from tests.support.tokens import jwk, jwks

MAPS = "/api/v1/configmaps"
OLD, NEW = jwks(jwk()), jwks(jwk("ES256"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Fetcher", lambda: Fetcher(loopback=True))
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.001)
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)


class Replica:
    """One operator's part in it."""

    def __init__(self, server: FakeApiServer) -> None:
        self.api = ApiServer(server.url)
        self.leads = False
        self.rung = 0
        self.issuers = Issuers(self.api, "system", lambda: self.leads, self._ring)
        self.tasks = [asyncio.create_task(self.issuers.maps.run())]

    def _ring(self) -> None:
        self.rung += 1

    def lead(self) -> None:
        self.leads = True
        self.tasks.append(asyncio.create_task(self.issuers.lead()))

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.api.close()


class Site:
    """A cluster, an issuer and replicas."""

    def __init__(self, server: FakeApiServer, issuer: Issuer) -> None:
        self.server = server
        self.issuer = issuer
        self.replicas: list[Replica] = []
        self.wanted = {"idp": Wanted(id="idp", address=f"{issuer.url}/jwks.json")}

    async def replica(self, *, leads: bool = False) -> Replica:
        found = Replica(self.server)
        self.replicas.append(found)
        await found.issuers.maps.synced.wait()
        found.issuers.want(self.wanted)
        if leads:
            found.lead()
        return found

    def kept(self) -> dict[str, str]:
        found = self.server.get(MAPS, CONFIG_MAP, "system")
        return (found or {}).get("data", {})

    async def everybody_has(self, text: str, problem: str = "") -> None:
        jwks = judge(text).text() if text else ""
        held = {"idp": Fetched(jwks=jwks, problem=problem.format(self.issuer.url))}
        await eventually(lambda: all(each.issuers.keys() == held for each in self.replicas))


def bench(work: Callable[[Site], Awaitable[None]]) -> None:
    async def main() -> None:
        issuer = Issuer()
        issuer.jwks = OLD
        async with FakeApiServer().serving() as server, issuer.serving():
            site = Site(server, issuer)
            try:
                await work(site)
            finally:
                for each in site.replicas:
                    await each.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_one_fetch_for_all_replicas() -> None:
    async def work(site: Site) -> None:
        for _ in range(3):
            await site.replica()
        await site.replica(leads=True)
        await site.everybody_has(OLD)
        assert site.issuer.asked == {"jwks": 1}
        assert all(each.rung for each in site.replicas)

    bench(work)


def test_another_leader_goes_on_with_what_there_is_while_the_issuer_is_away() -> None:
    async def work(site: Site) -> None:
        first = await site.replica(leads=True)
        await site.everybody_has(OLD)
        first.leads = False
        await first.close()
        site.replicas.clear()
        site.issuer.behaviour = "error"
        await site.replica(leads=True)
        await site.everybody_has(OLD, "{}/jwks.json answers 503")
        site.issuer.behaviour = "ok"
        site.issuer.jwks = NEW
        await site.everybody_has(NEW)

    bench(work)


def test_a_problem_is_known_to_all_even_where_there_never_was_a_key() -> None:
    async def work(site: Site) -> None:
        site.issuer.behaviour = "html"
        await site.replica()
        await site.replica(leads=True)
        await site.everybody_has("", "{}/jwks.json gives no JWK Set to verify tokens with: it is not JSON")

    bench(work)


def test_a_doubt_reaches_the_leader_from_any_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "REST_SECONDS", 0.0)

    async def work(site: Site) -> None:
        other, leader = await site.replica(), await site.replica(leads=True)
        await site.everybody_has(OLD)
        site.issuer.jwks = NEW
        for _ in range(50):
            other.issuers.doubt(("keys/idp", "keys/unheard-of", "policy/idp"))
        await site.everybody_has(NEW)
        assert site.issuer.asked == {"jwks": 2}
        site.issuer.jwks = OLD
        leader.issuers.doubt(("keys/idp",))
        await site.everybody_has(OLD)
        assert other.issuers.doubts == 100

    bench(work)


def test_what_nobody_needs_any_more_goes_and_what_somebody_wrote_over_it_comes_back() -> None:
    async def work(site: Site) -> None:
        leader = await site.replica(leads=True)
        await site.everybody_has(OLD)
        there = site.server.get(MAPS, CONFIG_MAP, "system")
        assert there is not None
        site.server.put(MAPS, {**there, "data": dump({"idp": Kept(jwks=NEW)})})
        await site.everybody_has(OLD)
        leader.issuers.want({})
        await eventually(lambda: site.kept() == {})

    bench(work)


def test_keys_that_somebody_deletes_are_not_missed_and_come_back() -> None:
    async def work(site: Site) -> None:
        other, leader = await site.replica(), await site.replica(leads=True)
        await site.everybody_has(OLD)
        leader.leads = False  # nobody puts them back for now
        site.server.delete(MAPS, CONFIG_MAP, "system")
        await eventually(lambda: not other.issuers.maps.records)
        await site.everybody_has(OLD)
        leader.leads = True
        leader.issuers.want(site.wanted)
        await eventually(lambda: bool(site.kept()))

    bench(work)


def test_an_api_server_that_refuses_is_asked_again() -> None:
    async def work(site: Site) -> None:
        replica = await site.replica()
        site.server.failing = 500
        replica.lead()
        await eventually(lambda: site.issuer.asked == {"jwks": 1})
        site.server.failing = 0
        await site.everybody_has(OLD)

    bench(work)


def test_metrics_say_how_it_goes() -> None:
    async def work(site: Site) -> None:
        leader = await site.replica(leads=True)
        await site.everybody_has(OLD)
        told = {family.name: list(family.samples()) for family in leader.issuers.families()}
        assert ({"result": "new"}, 1.0) in told["issuer_fetches_total"]
        assert told["issuer_key_sets"] == [
            ({"state": "good"}, 1.0),
            ({"state": "old"}, 0.0),
            ({"state": "missing"}, 0.0),
        ]
        leader.issuers.want({**site.wanted, "other": Wanted(id="other", address="https://192.0.2.1/")})
        assert list(leader.issuers.families()[2].samples())[2] == ({"state": "missing"}, 1.0)

    bench(work)


def test_the_record_of_the_config_map() -> None:
    raw = b'{"metadata": {"annotations": {"%s": "idp now"}}, "data": {"idp": "{}", "x": "["}}' % STALE.encode()
    assert keep(raw) == module.Shelf({"idp": Kept()}, "idp now")
    assert keep(b'{"metadata": {}}') == module.Shelf({})
