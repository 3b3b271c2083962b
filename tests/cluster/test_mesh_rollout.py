"""Pods come and go under load and no request fails; Jobs complete; no application holds its pod's end up."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import pytest

from tests.cluster.bed.waiting import until
from tests.cluster.support.cluster import Cluster
from tests.cluster.support.containers import status
from tests.cluster.support.mesh import PROXY, Mesh, proxy_of
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.traffic import Load

pytestmark = pytest.mark.cluster

BACKEND = "http://backend/"
GRACE = 30  # seconds that a pod has by default


@pytest.fixture
def shop(mesh: Mesh, injected: Namespace) -> Namespace:
    """A backend of two replicas; what is retried are the defaults: nothing that an application may have begun."""
    injected.apply("shop.yaml", retry="{attempts: 2, conditions: [ConnectFailure, ResetBeforeRequest]}")
    injected.wait_for("Deployment/backend")
    mesh.live("backend", injected.name)
    return injected


@contextmanager
def loads(space: Namespace, **spec: Any) -> Iterator[list[Load]]:
    """GETs, POSTs, which are never sent twice, and connections that are new each time; none of them may fail."""
    jobs: list[dict[str, Any]] = [
        {"rate": 60, "concurrency": 4},
        {"rate": 30, "concurrency": 4, "method": "POST", "body_bytes": 2000},
        {"rate": 20, "concurrency": 2, "reuse": False},
    ]
    running = [Load(space, f"load-{at}", {"url": BACKEND, **job}, {}, spec) for at, job in enumerate(jobs)]
    for load in running:
        load.__enter__()
    yield running
    for load in running:
        load.stop().assert_no_failures()


def seen(load: Load) -> dict[str, int]:
    """Which pods have answered this load."""
    assert load.result is not None
    found: dict[str, int] = load.result.pods
    return found


def test_a_rolling_update_under_load_fails_no_request(cluster: Cluster, shop: Namespace) -> None:
    before = {pod["metadata"]["name"] for pod in shop.pods("app=backend")}
    with loads(shop) as running:
        cluster.kubectl("set", "env", "deployment/backend", "VERSION=v2", "-n", shop)
        cluster.kubectl("rollout", "status", "deployment/backend", "-n", shop, "--timeout=120s", seconds=130)
        until("the old pods have gone", lambda: not before & names(shop), 60, 0.2)
    assert {"v1", "v2"} == set(running[0].result.versions if running[0].result else ())
    assert set(seen(running[0])) > before, "old and new pods have answered"


def names(space: Namespace) -> set[str]:
    """Every pod of the backend, those on their way out included."""
    pods = space.objects.list("Pod", space.name, label_selector="app=backend")
    return {str(pod["metadata"]["name"]) for pod in pods}


def test_scaling_up_and_down_under_load_fails_no_request(cluster: Cluster, shop: Namespace) -> None:
    with loads(shop) as running:
        for replicas in (1, 5, 1):
            cluster.kubectl("scale", "deployment/backend", f"--replicas={replicas}", "-n", shop)
            shop.wait_for("Deployment/backend")
            until(f"{replicas} pods", lambda replicas=replicas: len(names(shop)) == replicas, 60, 0.2)
    assert len(seen(running[0])) >= 5, "those that came have answered, too"


def test_a_drained_node_fails_no_request(mesh: Mesh, cluster: Cluster, shop: Namespace) -> None:
    """Everything on it goes at once: backends, a replica of the operator, what else is there."""
    first, second = (node.name for node in cluster.nodes)
    cluster.kubectl("scale", "deployment/backend", "--replicas=4", "-n", shop)
    shop.wait_for("Deployment/backend")
    assert {pod["spec"]["nodeName"] for pod in shop.pods("app=backend")} == {first, second}
    with loads(shop, nodeName=first) as running:
        try:
            words = ("drain", second, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s")
            cluster.kubectl(*words, seconds=150)
            shop.wait_for("Deployment/backend")
            assert {pod["spec"]["nodeName"] for pod in shop.pods("app=backend")} == {first}
        finally:
            cluster.kubectl("uncordon", second)
    assert len(seen(running[0])) >= 4
    until("the operator is whole again", mesh.ready, 60, 0.5)


def test_a_job_with_a_proxy_completes(injected: Namespace) -> None:
    get = {"name": "work", "image": "$apps_image", "args": ["get", "http://127.0.0.1:15021/readyz"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [get]}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work"}}
    injected.apply(json.dumps({**job, "spec": {"backoffLimit": 0, "template": template}}))
    began = time.monotonic()
    injected.wait_for("Job/work")
    assert time.monotonic() - began < GRACE, "it ends when its work has ended"
    (pod,) = injected.objects.list("Pod", injected.name, label_selector="job-name=work")
    assert proxy_of(pod)
    assert status(pod, PROXY)["state"]["terminated"]["exitCode"] == 0


# Sends a request every now and then over one connection, whatever it is told about the connection, for ever.
CLING = """
import signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
talk = socket.create_connection(("backend", 80), 5)
while True:
    talk.sendall(b"GET / HTTP/1.1\\r\\nHost: backend\\r\\n\\r\\n")
    print(len(talk.recv(65536)), flush=True)
    time.sleep(0.5)
"""

# A tunnel through both proxies that nobody ever closes.
TUNNEL = """
import signal, socket, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
talk = socket.create_connection(("backend", 80), 5)
talk.sendall(b"GET / HTTP/1.1\\r\\nHost: backend\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n"
             b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n")
print(talk.recv(65536).split(b"\\r\\n")[0].decode(), flush=True)
time.sleep(3600)
"""


@pytest.mark.parametrize("program", [CLING, TUNNEL], ids=["keep-alive", "tunnel"])
def test_a_connection_that_is_never_closed_lets_its_pods_end(
    cluster: Cluster, shop: Namespace, images: Callable[[str], str], program: str
) -> None:
    container = {"name": "client", "image": images("apps"), "command": ["python3", "-c", program]}
    spec = {"restartPolicy": "Never", "containers": [container]}
    shop.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "cling"}, "spec": spec})
    shop.wait_for("Pod/cling")
    until("it has been answered", lambda: shop.logs("cling", "client").strip(), 60, 0.5)
    with watched(cluster, shop) as ended:
        for name in sorted(names(shop)):
            shop.delete(f"Pod/{name}")
            shop.wait_gone(f"Pod/{name}", seconds=GRACE + 15)
        shop.delete("Pod/cling")
        shop.wait_gone("Pod/cling", seconds=GRACE + 15)
        codes = ended()
    assert len(codes) >= 3
    assert set(codes.values()) == {0}, f"no proxy had to be killed: {codes}"


@contextmanager
def watched(cluster: Cluster, space: Namespace) -> Iterator[Callable[[], dict[str, int]]]:
    """The exit codes of all proxies that end meanwhile, by pod: what is gone cannot be asked any more."""
    command = [cluster.bin / "kubectl", f"--kubeconfig={cluster.kubeconfig}", "get", "pods", "-n", space.name]
    words = ["--watch", "--output-watch-events", "-o", "json"]
    with (
        tempfile.TemporaryFile("w+") as told,
        subprocess.Popen([*map(str, command), *words], stdout=told) as watching,
    ):
        try:
            yield lambda: _codes(_all(told))
        finally:
            watching.terminate()


def _all(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _codes(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    decoder, at = json.JSONDecoder(), 0
    while (start := text.find("{", at)) >= 0:
        try:
            event, at = decoder.raw_decode(text, start)
        except ValueError:  # the last one, cut off
            break
        pod = event["object"]
        if over := status(pod, PROXY).get("state", {}).get("terminated"):
            found[pod["metadata"]["name"]] = over["exitCode"]
    return found
