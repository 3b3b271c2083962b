"""The operator's process inside a test, against the cluster's real API server: no image and no chart, all else real.

Called by tests/cluster/test_operator_*.py. Pods are real objects that no kubelet takes up: tests write their status.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import yaml

from sidewinder_operator.apiserver import MERGE, ApiServer
from sidewinder_operator.discovery.acks import Having
from sidewinder_operator.main.process import Process
from sidewinder_operator.settings import Settings

CRDS = Path(__file__).parents[3] / "crds"
SECONDS = 30.0


def settings(kubeconfig: Path, folder: Path, namespace: str) -> Settings:
    """Settings of an operator outside the cluster, with the administrator's token."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    token, authority = folder / "token", folder / "ca.crt"
    token.write_text(user["token"])
    if "certificate-authority-data" in cluster:
        authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    else:
        authority = Path(cluster["certificate-authority"])
    return Settings(
        namespace=namespace,
        pod_name=f"operator-{secrets.token_hex(2)}",
        api_server=cluster["server"],
        api_token_file=str(token),
        api_authority_file=str(authority),
        health_address="127.0.0.1",
        health_port=0,
        address="127.0.0.1",
        discovery_port=0,
    )


@contextlib.asynccontextmanager
async def running(found: Settings) -> AsyncIterator[Process]:
    """The whole process, in this loop."""
    process = Process(found)
    task = asyncio.create_task(process.run())
    try:
        yield process
    finally:
        process.leave.set()
        await asyncio.wait_for(task, SECONDS)


async def eventually(holds: Callable[[], object], what: str = "it", seconds: float = SECONDS) -> None:
    """Waits until it holds."""
    until = asyncio.get_running_loop().time() + seconds
    while not holds():
        if asyncio.get_running_loop().time() > until:
            raise AssertionError(f"{what} does not hold after {seconds:g} s")
        await asyncio.sleep(0.02)


async def found(look: Callable[[], Awaitable[Any]], seconds: float = SECONDS) -> Any:
    """What `look` finds, as soon as it is something."""
    until = asyncio.get_running_loop().time() + seconds
    while not (seen := await look()):
        if asyncio.get_running_loop().time() > until:
            raise AssertionError(f"nothing is found after {seconds:g} s")
        await asyncio.sleep(0.05)
    return seen


async def pod(api: ApiServer, namespace: str, name: str, address: str, labels: dict[str, str]) -> str:
    """A pod with a sidecar of ours that says to run and never does; its uid."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    container = {"name": "app", "image": "none", "ports": [{"containerPort": 9080, "name": "http"}]}
    sidecar = {"name": "sidewinder-proxy", "image": "none", "restartPolicy": "Always"}
    spec = {
        "schedulerName": "nobody",
        "containers": [container],
        "initContainers": [sidecar],
        "terminationGracePeriodSeconds": 0,
    }
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}
    made = json.loads(await api.send("POST", pods, body))
    status = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    await api.send("PATCH", f"{pods}/{name}/status", {"status": status}, kind=MERGE)
    return str(made["metadata"]["uid"])


def acknowledge(process: Process, uid: str) -> None:
    """Its sidecar has all that it should have."""
    picture = process.store.pictures[uid]
    process.acks.tell(uid, Having(epoch=1, versions=picture.versions))
