"""Statuses on a real API server: true in the data plane, written once, never by one that does not lead."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from sidewinder_operator.apiserver import MERGE
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.operator import CRDS, acknowledge, eventually, found, pod, running, settings

ROOT = Path(__file__).parents[2]
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
BROKEN = """
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: broken}
spec:
  parentRefs: [{kind: Service, name: reviews}]
  rules:
  - name: odd
    matches: [{path: {type: PathPrefix, value: /odd}}]
    backendRefs: [{name: nobody, port: 9080}]
"""


@pytest.fixture(scope="module")
def crds(cluster: Any) -> None:
    cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))


def test_programmed_means_live_everywhere(cluster: Any, crds: None, namespace: Namespace, tmp_path: Path) -> None:
    namespace.apply(SERVICE)
    namespace.apply(ROUTE)
    namespace.apply(BROKEN)
    home = str(namespace)
    route = f"/apis/sidewinder.dev/v1alpha1/namespaces/{home}/apiroutes/reviews"

    async def main() -> None:
        async with running(settings(cluster.kubeconfig, tmp_path, home)) as process:
            api = process.api

            async def programmed(status: str, reason: str = "", path: str = route) -> dict[str, Any]:
                async def look() -> Any:
                    seen = await api.get(path)
                    for each in seen.get("status", {}).get("conditions", ()):
                        told = each["type"], each["status"], each["observedGeneration"]
                        if told == ("Programmed", status, seen["metadata"]["generation"]) and reason in each["reason"]:
                            return seen["status"], each
                    return None

                try:
                    whole, condition = await found(look)
                except AssertionError:
                    raise AssertionError((await api.get(path)).get("status")) from None
                return {**whole, "programmed": condition}

            first = await pod(api, home, "reviews-1", "198.18.99.1", {"app": "reviews"})
            second = await pod(api, home, "reviews-2", "198.18.99.2", {"app": "reviews"})
            # pods of tests before this one need it too, for as long as they are there
            await eventually(lambda: {first, second} == set(process.store.pictures), "two pictures", 60)
            await eventually(lambda: not process.lacking(), "it serves")
            await eventually(process.lease.leader, "leading")
            pending = await programmed("False", "Pending")
            while pending["proxies"]["required"] != 2:
                pending = await programmed("False", "Pending")
            assert pending["proxies"] == {"required": 2, "acknowledged": 0, "rejected": 0}
            acknowledge(process, first)
            while "1 of 2" not in pending["programmed"]["message"]:
                pending = await programmed("False", "Pending")
            assert f"missing: {home}/reviews-2" in pending["programmed"]["message"]
            acknowledge(process, second)
            done = await programmed("True")
            assert done["proxies"] == {"required": 2, "acknowledged": 2, "rejected": 0}
            listed = await asyncio.to_thread(
                cluster.kubectl, "wait", "-n", home, "--for=condition=Programmed", "apiroute/reviews", "--timeout=5s"
            )
            assert "condition met" in listed
            assert await _waits(cluster, tmp_path, home) == (0, "2 of 2 proxies have it")
            # a new generation is not live before it is acknowledged
            changed = {
                "spec": {"rules": [{"name": "all", "backendRefs": [{"name": "reviews", "port": 9080, "weight": 7}]}]}
            }
            await api.send("PATCH", route, changed, kind=MERGE)
            await programmed("False", "Pending")
            acknowledge(process, first)
            acknowledge(process, second)
            await programmed("True")
            # nothing is written when nothing changes
            writes, version = process.writer.writes, (await api.get(route))["metadata"]["resourceVersion"]
            await asyncio.sleep(2.5)
            assert process.writer.writes == writes
            assert (await api.get(route))["metadata"]["resourceVersion"] == version
            # a status that somebody else changes comes right again
            spoilt = {"status": {"proxies": {"required": 99}}}
            await api.send("PATCH", f"{route}/status", spoilt, kind=MERGE)
            await found(lambda: _required(api, route, 2))
            # what is unresolved is said, and told once
            broken = route.replace("apiroutes/reviews", "apiroutes/broken")
            whole = await found(lambda: _conditions(api, broken))
            assert whole["ResolvedRefs"]["status"] == "False"
            assert whole["ResolvedRefs"]["reason"] == "BackendNotFound"
            events = (await api.get(f"/apis/events.k8s.io/v1/namespaces/{home}/events"))["items"]
            told = [each for each in events if each["regarding"]["name"] == "broken"]
            assert [each["reason"] for each in told] == ["BackendNotFound"]

    asyncio.run(asyncio.wait_for(main(), 120))


async def _waits(cluster: Any, folder: Path, namespace: str) -> tuple[int, str]:
    """`sidewinder wait` for a folder: its status and the last words of its last line."""
    (folder / "route.yaml").write_text(ROUTE)
    words = ("-m", "sidewinder_operator.cli.main", "wait", "-f", str(folder / "route.yaml"), "-n", namespace)
    paths = os.pathsep.join(str(ROOT / part) for part in ("operator/src", "sidecar/src"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *words),
        env=cluster.environment() | {"PYTHONPATH": paths},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, said.decode().strip().rpartition(": ")[2]


async def _required(api: Any, path: str, count: int) -> bool:
    seen = await api.get(path)
    return bool(seen["status"]["proxies"]["required"] == count)


async def _conditions(api: Any, path: str) -> dict[str, Any]:
    seen = await api.get(path)
    return {each["type"]: each for each in seen.get("status", {}).get("conditions", ())}


WORKLOAD = """
apiVersion: sidewinder.dev/v1alpha1
kind: ExternalWorkload
metadata: {name: legacy, labels: {app: reviews}}
spec: {addresses: [192.0.2.7], ports: [{name: http, port: 9080}]}
"""


def test_a_workload_outside_and_pods_without_a_sidecar_are_told(
    cluster: Any, crds: None, namespace: Namespace, tmp_path: Path
) -> None:
    namespace.apply(SERVICE)
    namespace.apply(WORKLOAD)
    home = str(namespace)
    cluster.kubectl("label", "namespace", home, "sidewinder.dev/inject=enabled")
    legacy = f"/apis/sidewinder.dev/v1alpha1/namespaces/{home}/externalworkloads/legacy"

    async def main() -> None:
        async with running(settings(cluster.kubeconfig, tmp_path, home)) as process:
            await eventually(process.lease.leader, "leading", 60)
            told = await found(lambda: _conditions(process.api, legacy))
            assert (told["Accepted"]["status"], told["Selected"]["message"]) == ("True", "by reviews")
            listed = await asyncio.to_thread(cluster.kubectl, "get", "extw", "-n", home)
            assert "SELECTED" in listed
            # a pod that came without passing the webhook
            container = {"name": "app", "image": "none"}
            spec = {"schedulerName": "nobody", "containers": [container], "terminationGracePeriodSeconds": 0}
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare"}, "spec": spec}
            await process.api.send("POST", f"/api/v1/namespaces/{home}/pods", body)
            await eventually(lambda: home in process.watch.uninjected(), "the pod is seen")
            await process.notices.once()
            await process.notices.once()
            events = (await process.api.get(f"/apis/events.k8s.io/v1/namespaces/{home}/events"))["items"]
            assert [(each["reason"], each["regarding"]["kind"], each["note"]) for each in events] == [
                ("SidecarMissing", "Namespace", "1 pod without a sidecar; restart it: bare")
            ]

    asyncio.run(asyncio.wait_for(main(), 120))
