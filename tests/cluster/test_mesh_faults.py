"""The operator killed, its leader cut off, API server or DNS away: no request fails, no change is lost afterwards."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.bed.bed import Bed
from tests.cluster.bed.waiting import BedError, until
from tests.cluster.support.chart import NAMESPACE
from tests.cluster.support.cluster import Cluster
from tests.cluster.support.containers import kill, status, wait_restarted
from tests.cluster.support.mesh import PROXY, Mesh
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.traffic import Load

pytestmark = pytest.mark.cluster

BACKEND = "http://backend/"
AWAY_SECONDS = 120  # of the API server
# What a container that is killed may have begun is sent again where that is safe: these are GETs.
RETRY = "{attempts: 3, codes: [502, 503, 504], conditions: [ConnectFailure, ResetBeforeRequest, Reset]}"
CHANGES = itertools.count(1)

# While the API server is away nobody takes a killed container's endpoint out: how long it takes to come back on a busy
# machine is not what is tested here, and the budget would end the retries that make up for it.
BUDGET = {
    "apiVersion": "sidewinder.dev/v1alpha1",
    "kind": "ApiPolicy",
    "metadata": {"name": "backend"},
    "spec": {
        "targetRefs": [{"kind": "Service", "name": "backend"}],
        "retryConstraint": {"budget": {"percent": 100, "interval": "60s"}},
    },
}


@pytest.fixture
def bed(cluster: Cluster) -> Bed:
    """Faults are the bed's."""
    if not isinstance(cluster, Bed):
        pytest.skip("only the test bed has faults")
    return cluster


@pytest.fixture
def shop(mesh: Mesh, injected: Namespace) -> Namespace:
    """A backend of four replicas, on both nodes, and a pod to ask from."""
    injected.apply("shop.yaml", retry=RETRY)
    injected.apply(json.dumps(BUDGET))
    client = {"name": "client", "image": "$apps_image", "command": ["sleep", "infinity"]}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [client]}
    injected.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": spec}))
    injected.cluster.kubectl("scale", "deployment/backend", "--replicas=4", "-n", injected)
    injected.wait_for("Deployment/backend")
    injected.wait_for("Pod/client")
    mesh.live("backend", injected.name)
    return injected


@contextlib.contextmanager
def load(space: Namespace, url: str = BACKEND) -> Iterator[None]:
    """GETs without a pause, none of which may fail."""
    with Load(space, "load", {"url": url, "rate": 50, "concurrency": 4}, {}) as running:
        yield
    assert running.result is not None
    running.result.assert_no_failures()


def change(space: Namespace) -> str:
    """Makes the route say something new; what it says. Raises BedError while nobody can check it."""
    word = f"change-{next(CHANGES)}"
    modifier = {
        "type": "RequestHeaderModifier",
        "requestHeaderModifier": {"set": [{"name": "x-change", "value": word}]},
    }
    patch = [{"op": "add", "path": "/spec/rules/0/filters", "value": [modifier]}]
    space.cluster.kubectl("patch", "apiroute", "backend", "-n", space, "--type=json", "-p", json.dumps(patch))
    return word


def changed(space: Namespace) -> str:
    """As `change`, as often as it takes."""
    said: list[str] = []

    def accepted() -> bool:
        try:
            said.append(change(space))
        except BedError as error:
            raise OSError(str(error)) from error
        return True

    until("a change is accepted", accepted, 60, 0.5)
    return said[-1]


def told(space: Namespace) -> str:
    """What the backend is told by the route. Raises OSError while there is no answer."""
    try:
        answer: dict[str, Any] = json.loads(space.run_in_pod("client", "python3", "-m", "apps", "get", BACKEND))
    except BedError as error:
        raise OSError(str(error)) from error
    return next((value for name, value in answer["headers"] if name.lower() == "x-change"), "")


def live(mesh: Mesh, space: Namespace, word: str) -> None:
    """It is acknowledged by all, and true."""
    mesh.live("backend", space.name, 60)
    assert told(space) == word


def test_the_operator_is_killed_under_load(mesh: Mesh, bed: Bed, shop: Namespace) -> None:
    """All its replicas at once; they stay away while proxies and applications restart, and come back to a change."""
    with load(shop):
        for replica in mesh.replicas():
            kill(bed, replica, "operator")
        changed(shop)
        bed.kubectl("scale", "deployment/sidewinder-operator", "--replicas=0", "-n", NAMESPACE)
        until(
            "no replica is left", lambda: not mesh.items("pods", "-l", "app.kubernetes.io/component=operator"), 60, 0.5
        )
        one, other, *_ = shop.pods("app=backend")
        for pod, container in ((one, PROXY), (other, "echo")):
            kill(bed, pod, container)
            wait_restarted(shop, pod, container)
        bed.kubectl("scale", "deployment/sidewinder-operator", "--replicas=2", "-n", NAMESPACE)
        live(mesh, shop, changed(shop))


@contextlib.contextmanager
def cut_off(bed: Bed, pod: dict[str, Any]) -> Iterator[None]:
    """Nothing to or from this pod; the rest of its node goes on."""
    node = next(each for each in bed.nodes if each.name == pod["spec"]["nodeName"])
    rules = [
        (program, direction, address["ip"])
        for address in pod["status"]["podIPs"]
        for program in ["ip6tables" if ":" in address["ip"] else "iptables"]
        for direction in ("-s", "-d")
    ]
    for program, direction, address in rules:
        node.run(program, "-t", "raw", "-I", "PREROUTING", direction, address, "-j", "DROP")
    try:
        yield
    finally:
        for program, direction, address in rules:
            node.run(program, "-t", "raw", "-D", "PREROUTING", direction, address, "-j", "DROP")


def test_the_leader_is_cut_off_under_load(mesh: Mesh, bed: Bed, shop: Namespace) -> None:
    """The other one leads; proxies that hung on the leader find it and get what changes meanwhile."""
    leader = mesh.leader()
    (pod,) = [each for each in mesh.replicas() if each["metadata"]["name"] == leader]
    with load(shop):
        with cut_off(bed, pod):
            until("another replica leads", lambda: mesh.leader() not in ("", leader), 60, 0.5)
            word = changed(shop)
            until("the change is live", lambda: told(shop) == word, 60, 0.5)
        live(mesh, shop, changed(shop))
    until("all replicas are ready", mesh.ready, 60, 0.5)


def test_the_api_server_is_away_for_two_minutes_under_load(mesh: Mesh, bed: Bed, shop: Namespace) -> None:
    """The change of the last moment is not lost, and what restarts meanwhile comes back with what it knew."""
    server = bed.component("kube-apiserver")
    killed = [*zip(shop.pods("app=backend"), itertools.cycle((PROXY, "echo")), strict=False)]
    with load(shop):
        word = change(shop)
        server.stop()
        begun = time.monotonic()
        try:
            for number, (pod, container) in enumerate(killed, 1):
                kill(bed, pod, container)
                _until(begun + AWAY_SECONDS * number / len(killed))
        finally:
            server.start()
        until("the API server is ready", bed.api.ready, 60, 0.5)
        for pod, container in killed:
            wait_restarted(shop, pod, container)
        live(mesh, shop, word)
        live(mesh, shop, changed(shop))
    until("all replicas are ready", mesh.ready, 60, 0.5)  # the node controller has missed their nodes' signs of life
    for replica in mesh.replicas():
        assert status(replica, "operator")["restartCount"] <= 1, "killed by an earlier test, and by nothing else"


def _until(end: float) -> None:
    """The time itself is what is tested: two minutes without an API server."""
    time.sleep(max(0.0, end - time.monotonic()))


@contextlib.contextmanager
def without_dns(bed: Bed) -> Iterator[None]:
    """Nobody resolves a name."""
    replicas = bed.kubectl("get", "deployment/coredns", "-n", "kube-system", "-o", "jsonpath={.spec.replicas}")
    bed.kubectl("scale", "deployment/coredns", "--replicas=0", "-n", "kube-system")
    try:
        found = ("get", "pods", "-n", "kube-system", "-l", "k8s-app=kube-dns", "-o", "name")
        until("no DNS is left", lambda: not bed.kubectl(*found).strip(), 60, 0.5)
        yield
    finally:
        bed.kubectl("scale", "deployment/coredns", f"--replicas={replicas}", "-n", "kube-system")
        bed.kubectl("rollout", "status", "deployment/coredns", "-n", "kube-system", "--timeout=60s")


def test_dns_is_away_under_load(mesh: Mesh, bed: Bed, shop: Namespace) -> None:
    """Proxies need no name for what they call. Changes come over the streams that stand; one that restarts cannot find
    the operator, and serves what it knew."""
    words = ("get", "service", "backend", "-n", shop, "-o", "jsonpath={.spec.clusterIP}")
    with load(shop, f"http://{bed.kubectl(*words)}/"):
        with without_dns(bed):
            changed(shop)
            mesh.live("backend", shop.name, 60)
            one, *_ = shop.pods("app=backend")
            kill(bed, one, PROXY)
            wait_restarted(shop, one, PROXY)
        live(mesh, shop, changed(shop))
