"""Three replicas as processes against a real API server: killed, cut off, slow, led by another. Never a false True."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sidewinder_operator.apiserver import MERGE, ApiServer
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.operator import CRDS, found, pod, settings
from tests.cluster.support.replicas import Replica, Sidecar, announce, our_address, sidecar, slices
from tests.support.relay import Relay

pytestmark = pytest.mark.cluster

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec:
  selector: {app: reviews}
  ports: [{name: http, port: 9080, targetPort: http}]
"""
ROUTE = """
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: reviews}
spec:
  parentRefs: [{kind: Service, name: reviews}]
  rules:
  - name: all
    backendRefs: [{name: reviews, port: 9080}]
"""


@pytest.fixture(scope="module")
def crds(cluster: Any) -> None:
    cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))


class Bench(NamedTuple):
    api: ApiServer
    home: str
    replicas: list[Replica]
    sidecars: list[Sidecar]

    @property
    def route(self) -> str:
        return f"/apis/sidewinder.dev/v1alpha1/namespaces/{self.home}/apiroutes/reviews"

    async def told(self) -> tuple[str, str, int, dict[str, int]]:
        """Status and reason of Programmed, how many generations it is behind, and the proxies."""
        seen = await self.api.get(self.route)
        for each in seen.get("status", {}).get("conditions", ()):
            if each["type"] == "Programmed":
                behind = seen["metadata"]["generation"] - each["observedGeneration"]
                return each["status"], each["reason"], behind, seen["status"]["proxies"]
        return "", "", 0, {}

    async def until(self, *wanted: str, seconds: float = 30.0) -> None:
        last: Any = None

        async def look() -> bool:
            nonlocal last
            last = status, reason, behind, _ = await self.told()
            return (status, reason) == wanted and behind == 0

        try:
            await found(look, seconds)
        except AssertionError:
            raise AssertionError(f"not {wanted} but {last}") from None

    async def change(self, weight: int) -> None:
        backend = {"name": "reviews", "port": 9080, "weight": weight}
        await self.api.send(
            "PATCH", self.route, {"spec": {"rules": [{"name": "all", "backendRefs": [backend]}]}}, kind=MERGE
        )

    async def leader(self) -> Replica:
        async def look() -> Replica | None:
            for each in self.replicas:
                with contextlib.suppress(OSError):
                    if await each.is_leading():
                        return each
            return None

        leading = await found(look, 40)
        assert isinstance(leading, Replica)
        return leading


@contextlib.asynccontextmanager
async def three(cluster: Any, namespace: Namespace, folder: Path) -> AsyncIterator[Bench]:
    """The first leads; a sidecar has its stream at the second, another one at the third."""
    home = str(namespace)
    base = settings(cluster.kubeconfig, folder, home)
    api = ApiServer(base.api_server, token_file=Path(base.api_token_file), authority=Path(base.api_authority_file))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(api.close)
        replicas = []
        for _ in range(3):
            replica = Replica(settings(cluster.kubeconfig, folder, home), folder)
            stack.push_async_callback(replica.kill)
            await replica.start()
            replicas.append(replica)
            if len(replicas) == 1:
                await found(replica.is_leading, 30)
        sidecars = []
        for number, replica in enumerate(replicas[1:], 1):
            uid = await pod(api, home, f"reviews-{number}", f"198.18.99.{number}", {"app": "reviews"})
            one = await sidecar(api, home, home, uid)
            await stack.enter_async_context(one.running(replica))
            sidecars.append(one)
        yield Bench(api, home, replicas, sidecars)


def test_acknowledgements_of_all_replicas_count_and_none_is_believed_that_cannot_be_asked(
    cluster: Any, crds: None, namespace: Namespace, tmp_path: Path
) -> None:
    namespace.apply(SERVICE)
    namespace.apply(ROUTE)

    async def main() -> None:
        async with three(cluster, namespace, tmp_path) as on:
            first, second, third = on.replicas
            here = our_address(first.settings.api_server)
            relay = Relay(here, third.port)
            async with relay.serving(here):
                await announce(on.api, on.home, first, here)
                await announce(on.api, on.home, second, here)
                await announce(on.api, on.home, third, here, relay.port)
                await on.until("True", "Programmed", seconds=60)
                assert (await on.told())[3] == {"required": 2, "acknowledged": 2, "rejected": 0}

                # one that is slow: nothing false is said meanwhile, and then the truth
                relay.hold()
                await on.change(2)
                for _ in range(20):
                    status, _, behind, _ = await on.told()
                    assert status != "True" or behind
                    await asyncio.sleep(0.1)
                relay.heal()
                await on.until("True", "Programmed")

                # one that is cut off, while its sidecar gets the news all the same
                relay.cut()
                applied = on.sidecars[1].applied
                await on.change(3)
                await found(lambda: _applied(on.sidecars[1], applied), 30)
                await on.until("Unknown", "ReplicaUnreachable")
                condition = await asyncio.to_thread(
                    cluster.kubectl, "get", "apiroute/reviews", "-n", on.home, "-o", "jsonpath={.status.conditions}"
                )
                assert third.name in condition
                relay.heal()
                await on.until("True", "Programmed")

                # one that is killed: unknown while it stands among the endpoints, then its sidecars are missing
                await second.kill()
                await on.until("Unknown", "ReplicaUnreachable")
                await on.api.send("DELETE", f"{slices(on.home)}/peers-{second.name}")
                await on.until("False", "Pending")
                assert (await on.told())[3]["acknowledged"] == 1
                on.sidecars[0].port = third.port
                await on.until("True", "Programmed")

                # a new leader knows what the others were told
                assert (await on.leader()).name == first.name
                await first.stop()
                await on.api.send("DELETE", f"{slices(on.home)}/peers-{first.name}")
                await on.change(4)
                await on.until("True", "Programmed", seconds=60)
                assert (await on.leader()).name == third.name

    asyncio.run(asyncio.wait_for(main(), 280))


async def _applied(one: Sidecar, before: int) -> bool:
    return one.applied > before
