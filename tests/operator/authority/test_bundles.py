"""The trust bundle is where it is needed, as it should be, and nowhere else; against the fake API server."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.authority import bundles as writing
from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.bundles import Bundle, Bundles, keeping
from sidewinder_operator.authority.keeper import LABELS
from sidewinder_operator.authority.root import Trust
from sidewinder_operator.watch.reflector import Reflector
from tests.support.apiserver import FakeApiServer
from tests.support.clock import eventually

MAPS = "/api/v1/configmaps"
NOW = dt.datetime.now(dt.UTC)
OWNERS = [{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": "x", "uid": "y"}]


class Site:
    """The duty, running beside its reflector."""

    def __init__(self, server: FakeApiServer) -> None:
        self.server = server
        self.api = ApiServer(server.url)
        self.trust = Trust(roots.create("cluster.local", NOW))
        self.wanted = {"system", "shop"}
        self.leads = True
        self.unknown = False
        self.reflector: Reflector[Bundle] = Reflector(
            self.api, MAPS, keeping("bundle.pem"), lambda: self.bundles.ring(), fields="metadata.name=sidewinder-trust"
        )
        self.bundles = Bundles(
            self.api, "sidewinder-trust", "bundle.pem", lambda: self.trust, lambda: self.wanted,
            self.reflector.records.values, self.reflector.synced, lambda: self.leads, self.owners,
        )  # fmt: skip

    async def owners(self) -> list[dict[str, Any]]:
        if self.unknown:
            raise TimeoutError("the API server is slow")
        return OWNERS

    def there(self) -> dict[str, str]:
        return {each["metadata"]["namespace"]: each["data"]["bundle.pem"] for each in self.server.all(MAPS)}

    def right(self) -> bool:
        return self.there() == dict.fromkeys(self.wanted, self.trust.pem().decode())

    async def settled(self, writes: int = 0) -> None:
        """Everything is as it should be, and known to be; all in all it took so many writes."""
        await eventually(self.right)
        await eventually(lambda: {each.namespace for each in self.reflector.records.values()} == self.wanted)
        # The server has a write before the one who wrote has heard of it.
        await eventually(lambda: self.bundles.writes >= writes)
        assert writes in (0, self.bundles.writes)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "AGAIN_SECONDS", 0.02)
    monkeypatch.setattr(writing, "GATHER_SECONDS", 0.01)


def bench(work: Callable[[Site], Awaitable[None]]) -> None:
    async def main() -> None:
        async with FakeApiServer().serving() as server:
            site = Site(server)
            tasks = [asyncio.create_task(site.reflector.run()), asyncio.create_task(site.bundles.publish())]
            try:
                await work(site)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await site.api.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_it_is_written_once_where_it_is_wanted_and_says_whose_it_is() -> None:
    async def work(site: Site) -> None:
        await site.settled(writes=2)
        site.bundles.ring()
        await asyncio.sleep(0.1)
        assert site.bundles.writes == 2, "what is right is left alone"
        metadata = site.server.get(MAPS, "sidewinder-trust", "shop")["metadata"]
        assert (metadata["labels"], metadata["ownerReferences"]) == (LABELS, OWNERS)
        queries = [query for method, _, query in site.server.requests if method == "PATCH"]
        assert queries == [{"fieldManager": "sidewinder-operator", "force": "true"}] * 2

    bench(work)


def test_namespaces_come_and_go() -> None:
    async def work(site: Site) -> None:
        await site.settled()
        site.wanted = {"system", "other"}
        site.bundles.ring()
        await site.settled(writes=4)

    bench(work)


def test_what_is_deleted_or_changed_is_repaired_and_another_trust_is_published() -> None:
    async def work(site: Site) -> None:
        await site.settled()
        site.server.delete(MAPS, "sidewinder-trust", "shop")
        await eventually(lambda: site.bundles.writes == 3)
        await site.settled()
        changed = site.server.get(MAPS, "sidewinder-trust", "shop")
        site.server.put(MAPS, {**changed, "data": {"bundle.pem": "mine"}})
        await eventually(lambda: site.bundles.writes == 4)
        await site.settled()
        site.trust = roots.announce(site.trust, roots.create("cluster.local", NOW))
        site.bundles.ring()
        await site.settled(writes=6)

    bench(work)


def test_somebody_elses_of_that_name_is_not_deleted() -> None:
    async def work(site: Site) -> None:
        metadata = {"name": "sidewinder-trust", "namespace": "theirs"}
        site.server.put(MAPS, {"metadata": metadata, "data": {"bundle.pem": "theirs"}})
        await eventually(lambda: site.bundles.writes == 2)
        await eventually(lambda: len(site.reflector.records) == 3)
        site.bundles.ring()
        await asyncio.sleep(0.1)
        assert site.there()["theirs"] == "theirs"

    bench(work)


def test_a_namespace_that_refuses_keeps_nobody_else_from_theirs_and_is_told_once(caplog) -> None:
    async def work(site: Site) -> None:
        apply = site.server._apply
        refused = [0]

        def refusing(key: Any, place: tuple[str, str], *rest: Any) -> Any:
            if place[0] == "ending":
                refused[0] += 1
                from aiohttp import web

                return web.json_response({"reason": "Forbidden", "message": "is being terminated"}, status=403)
            return apply(key, place, *rest)

        site.server._apply = refusing
        site.wanted = {"ending", "shop", "system"}
        site.bundles.ring()
        await eventually(lambda: refused[0] >= 3)
        assert set(site.there()) == {"shop", "system"}
        site.wanted = {"shop", "system"}
        await site.settled()
        await eventually(lambda: site.bundles.failures == refused[0])

    bench(work)
    assert caplog.text.count("the trust bundle in ending cannot be written: 403 Forbidden") == 1


def test_who_leads_no_more_and_who_does_not_know_the_owner_writes_nothing() -> None:
    async def work(site: Site) -> None:
        site.unknown = True
        await asyncio.sleep(0.1)
        assert site.server.all(MAPS) == []
        site.unknown, site.leads = False, False
        await asyncio.sleep(0.1)
        assert site.server.all(MAPS) == []
        site.leads = True
        await site.settled()

    bench(work)


def test_the_record_says_what_is_there() -> None:
    keep = keeping("bundle.pem")
    assert keep(b'{"metadata": {"namespace": "shop"}}') == Bundle("shop", "", False)
    labels = b'{"app.kubernetes.io/managed-by": "sidewinder-operator"}'
    ours = b'{"metadata": {"namespace": "shop", "labels": %b}, "data": {"bundle.pem": "x", "y": "z"}}' % labels
    assert keep(ours) == Bundle("shop", "x", True)
