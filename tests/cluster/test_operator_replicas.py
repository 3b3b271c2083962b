"""Two replicas on a real API server: both serve, one leads; cut off, restarted and healed, both know the truth."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from sidewinder_operator.main.process import Process
from sidewinder_operator.settings import Settings
from tests.cluster.bed.bed import Bed
from tests.cluster.bed.waiting import until
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.operator import CRDS, eventually, pod, running, settings
from tests.support.relay import Relay

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def crds(cluster: Any) -> None:
    cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))


def service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80}]},
    }


def restart_api(cluster: Any) -> None:
    """Killed, and ready again; on kind the kubelet starts it anew."""
    if isinstance(cluster, Bed):
        cluster.restart("kube-apiserver")
        return
    cluster.nodes[0].run("pkill", "kube-apiserver")
    until("/readyz", lambda: cluster.kubectl("get", "--raw=/readyz") == "ok", 90)


@contextlib.asynccontextmanager
async def behind(relay: Relay, found: Settings) -> AsyncIterator[Process]:
    """A replica that reaches the API server through the relay alone."""
    async with relay.serving():
        through = msgspec.structs.replace(found, api_server=f"https://127.0.0.1:{relay.port}")
        async with running(through) as process:
            yield process


@contextlib.asynccontextmanager
async def never_two(*replicas: Process) -> AsyncIterator[None]:
    """Looked at all the time: at most one leads."""
    seen: list[int] = []

    async def look() -> None:
        while True:
            seen.append(sum(each.lease.leader() for each in replicas))
            await asyncio.sleep(0.01)

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()
    assert max(seen) == 1


def knows(process: Process, home: str) -> set[str]:
    assert process.round is not None
    return {name for space, name in process.round.compiled.cluster.services if space == home}


def test_a_replica_that_is_cut_off_serves_on_and_another_leads(
    cluster: Any, crds: None, namespace: Namespace, tmp_path: Path
) -> None:
    home = str(namespace)
    services = f"/api/v1/namespaces/{home}/services"

    async def main() -> None:
        found = settings(cluster.kubeconfig, tmp_path, home)
        server = urlsplit(found.api_server)
        relay = Relay(str(server.hostname), server.port or 443)
        async with behind(relay, found) as first:
            await eventually(first.lease.leader, "the first leads")
            async with running(found) as second:
                await eventually(lambda: second.round is not None, "the second serves")
                uid = await pod(first.api, home, "a-1", "198.18.99.1", {"app": "a"})
                await first.api.send("POST", services, service("a"))
                await first.api.send("POST", services, service("b"))
                for each in (first, second):
                    await eventually(lambda each=each: knows(each, home) == {"a", "b"}, "both know both")
                    await eventually(lambda each=each: uid in each.store.pictures, "both have the picture")
                assert first.store.pictures[uid].state == second.store.pictures[uid].state
                async with never_two(first, second):
                    relay.cut()
                    await eventually(second.lease.leader, "the second leads")
                    await second.api.send("DELETE", f"{services}/a")
                    await second.api.send("POST", services, service("c"))
                    await eventually(lambda: knows(second, home) == {"b", "c"}, "the second knows")
                    assert knows(first, home) == {"a", "b"}  # what it knows, it serves
                    assert first.lacking() == []
                    relay.heal()
                    await eventually(lambda: knows(first, home) == {"b", "c"}, "the first knows too")
                    await eventually(
                        lambda: first.store.pictures[uid].state == second.store.pictures[uid].state, "equal pictures"
                    )

    asyncio.run(asyncio.wait_for(main(), 150))


def test_an_api_server_that_restarts_costs_nothing(
    cluster: Any, crds: None, namespace: Namespace, tmp_path: Path
) -> None:
    home = str(namespace)
    services = f"/api/v1/namespaces/{home}/services"

    async def main() -> None:
        async with running(settings(cluster.kubeconfig, tmp_path, home)) as process:
            await process.api.send("POST", services, service("before"))
            await eventually(lambda: process.round is not None and knows(process, home) == {"before"}, "it knows")
            uid = await pod(process.api, home, "a-1", "198.18.99.1", {"app": "a"})
            await eventually(lambda: uid in process.store.pictures, "a picture")
            await asyncio.to_thread(restart_api, cluster)
            assert uid in process.store.pictures
            assert process.lacking() == []
            await process.api.send("DELETE", f"{services}/before")
            await process.api.send("POST", services, service("after"))
            await eventually(lambda: knows(process, home) == {"after"}, "the truth")
            await eventually(process.lease.leader, "leading")

    asyncio.run(asyncio.wait_for(main(), 150))
