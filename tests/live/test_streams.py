"""Real clients of discovery at a real server, in one process: streams that move all the time, and pods that leave."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web

from sidewinder_operator.compile.project import Encoded
from sidewinder_operator.discovery.acks import Acks
from sidewinder_operator.discovery.server import Discovery as Server
from sidewinder_operator.discovery.store import Store
from sidewinder_sidecar.discovery.dial import Unix
from sidewinder_sidecar.discovery.stream import Discovery as Client
from sidewinder_sidecar.snapshot import KINDS, Resource, encode, version
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec, EndpointsSpec

pytestmark = pytest.mark.live

PODS = tuple(f"pod-{number}" for number in range(20))


class Mesh:
    """A server with one socket a pod, and a client at each."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.store = Store()
        self.acks = Acks(self.store)
        self.server = Server(self.store, self.acks, self._name, **options)
        self.served: dict[str, dict[str, Resource]] = {}
        self.retired: list[str] = []
        self.clients = {pod: self._client(pod) for pod in PODS}

    def _name(self, request: web.Request) -> str | None:
        assert request.transport is not None
        return Path(request.transport.get_extra_info("sockname")).stem

    def _client(self, pod: str) -> Client:
        async def apply(resources: dict[str, Resource]) -> None:
            self.served[pod] = resources

        return Client(Unix(str(self.folder / f"{pod}.sock")), apply, retired=lambda: self.retired.append(pod))

    def publish(self, turn: int, *leaving: str) -> None:
        stays = [pod for pod in PODS if pod not in leaving]
        spec = EndpointsSpec(
            name="web", endpoints=tuple(EndpointSpec(uid=pod, address="10.0.0.1", port=1 + turn) for pod in stays)
        )
        self.store.publish(
            {
                pod: _encoded(spec, frozenset(stays))
                | _encoded(ProxySpec(name=pod, namespace="shop", terminating=pod in leaving))
                for pod in PODS
            }
        )

    async def until(self, holds: Callable[[], bool], seconds: float = 15.0) -> None:
        limit = asyncio.get_running_loop().time() + seconds
        while not holds():
            assert asyncio.get_running_loop().time() < limit, "it never came to hold"
            await asyncio.sleep(0.01)


def _encoded(body: ProxySpec | EndpointsSpec, ready: frozenset[str] = frozenset()) -> dict[str, Encoded]:
    raw = encode(body)
    name = f"{KINDS[type(body)]}/{'self' if isinstance(body, ProxySpec) else body.name}"
    return {name: Encoded(name, version(raw), raw, None, (), ready)}


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Mesh]:
    with tempfile.TemporaryDirectory(prefix="sw-") as folder:
        mesh = Mesh(Path(folder), **options)
        runner = mesh.server.runner()
        await runner.setup()
        for pod in PODS:
            await web.UnixSite(runner, str(mesh.folder / f"{pod}.sock")).start()
        tasks = [asyncio.create_task(client.run()) for client in mesh.clients.values()]
        try:
            yield mesh
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            mesh.server.close()
            await runner.cleanup()


def run(test: Callable[[], Awaitable[None]]) -> None:
    uvloop.run(asyncio.wait_for(test(), 60))


def test_streams_that_are_spread_anew_lose_nothing_and_nobody_is_ever_missing() -> None:
    async def test() -> None:
        async with running(rebalance_seconds=0.2) as mesh:
            mesh.publish(0)
            await mesh.until(lambda: not mesh.acks.behind())
            turn = 0
            while min(client.connections for client in mesh.clients.values()) < 4:
                turn += 1
                mesh.publish(turn)
                for _ in range(5):
                    await asyncio.sleep(0.01)
                    assert len(mesh.acks.having) == len(PODS), "somebody's word was forgotten on the way"
                    assert turn < 1000
            await mesh.until(lambda: not mesh.acks.behind())
            ports = {body.endpoints[0].port for one in mesh.served.values() for body in one.values() if _names(body)}
            assert ports == {1 + turn}

    run(test)


def _names(body: Resource) -> bool:
    return isinstance(body, EndpointsSpec)


def test_pods_that_leave_are_told_while_streams_come_and_go() -> None:
    async def test() -> None:
        async with running(rebalance_seconds=0.3) as mesh:
            mesh.publish(0)
            await mesh.until(lambda: not mesh.acks.behind())
            leaving: list[str] = []
            for pod in PODS[:6]:
                leaving.append(pod)
                mesh.publish(0, *leaving)
                await mesh.until(lambda: set(leaving) <= set(mesh.retired))
                naming = [
                    one
                    for one, resources in mesh.served.items()
                    for body in resources.values()
                    if isinstance(body, EndpointsSpec) and one != pod and pod in {each.uid for each in body.endpoints}
                ]
                assert naming == []
            assert set(mesh.retired) == set(leaving)

    run(test)
