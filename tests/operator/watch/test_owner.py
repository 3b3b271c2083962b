"""What the operator makes belongs to the chart's ClusterRole where there is one, and to nobody elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sidewinder_operator.apiserver import ApiServer, Refused
from sidewinder_operator.watch.lease import Lease
from sidewinder_operator.watch.owner import Owner
from sidewinder_operator.watch.revisions import Revisions
from tests.operator.watch.test_revisions import good, route
from tests.support import kubernetes_objects as objects
from tests.support.apiserver import FakeApiServer

ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
LEASES = "/apis/coordination.k8s.io/v1/leases"
NAME = "sidewinder-operator-read"


def bench(work: Callable[[FakeApiServer, ApiServer], Awaitable[None]]) -> None:
    async def main() -> None:
        async with FakeApiServer().serving() as server:
            api = ApiServer(server.url)
            await work(server, api)
            await api.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def installed(server: FakeApiServer) -> dict[str, str]:
    """The chart's role; what refers to it."""
    role = server.put(ROLES, {"metadata": {"name": NAME}})
    group, kind = "rbac.authorization.k8s.io/v1", "ClusterRole"
    return {"apiVersion": group, "kind": kind, "name": NAME, "uid": role["metadata"]["uid"]}


def test_without_a_chart_nobody_owns_anything() -> None:
    async def work(server: FakeApiServer, api: ApiServer) -> None:
        assert await Owner(api).references() == []

    bench(work)


def test_an_answer_that_says_nothing_is_a_failure_and_not_a_missing_chart() -> None:
    async def work(server: FakeApiServer, api: ApiServer) -> None:
        installed(server)
        server.failing = 503
        with pytest.raises(Refused, match="503"):
            await Owner(api).references()

    bench(work)


def test_what_was_good_is_the_charts() -> None:
    async def work(server: FakeApiServer, api: ApiServer) -> None:
        owner = installed(server)
        assert await Revisions(api, "system").write(good(route("a")), lambda: True)
        (revision,) = server.all(objects.REVISIONS)
        assert revision["metadata"]["ownerReferences"] == [owner]

    bench(work)


async def led(api: ApiServer, who: str) -> None:
    """Takes the Lease and keeps it, as a replica does that is killed."""
    leading = asyncio.Event()

    async def lead() -> None:
        leading.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(Lease(api, "system", "leader", who).run(lead))
    await asyncio.wait_for(leading.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_the_lease_is_the_charts_and_whoever_takes_it_says_so_anew() -> None:
    async def work(server: FakeApiServer, api: ApiServer) -> None:
        for who in ("first", "second"):
            owner = installed(server)
            await led(api, who)
            lease = server.get(LEASES, "leader", "system")
            assert lease is not None
            assert lease["metadata"]["ownerReferences"] == [owner]
            server.delete(ROLES, NAME)  # installed anew before the collector has come by

    bench(work)
