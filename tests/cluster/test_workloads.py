"""Pods, Services and names as applications meet them, on two nodes."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.support.cluster import Cluster
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.traffic import Load

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def echoes(cluster: Cluster, namespaces: Callable[..., Namespace]) -> Iterator[Namespace]:
    """The workloads of echo.yaml, ready."""
    first, second = (node.name for node in cluster.nodes)
    with namespaces("workloads") as fresh:
        fresh.apply("echo.yaml", first_node=first, second_node=second)
        for reference in ("Deployment/echo", "StatefulSet/ordinal", "Pod/first", "Pod/second"):
            fresh.wait_for(reference)
        yield fresh


def ask(namespace: Namespace, pod: str, url: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(namespace.run_in_pod(pod, "python3", "-m", "apps", "get", url))
    return answer


@pytest.mark.parametrize("client", ["first", "second"])
def test_a_pod_on_each_node_reaches_pods_on_both_by_their_addresses(echoes: Namespace, client: str) -> None:
    address = echoes.get(f"Pod/{client}")["status"]["podIP"]
    by_node = {pod["spec"]["nodeName"]: pod for pod in echoes.pods("app=echo")}
    assert len(by_node) == 2
    for node, pod in by_node.items():
        told = ask(echoes, client, f"http://{pod['status']['podIP']}:8080/")
        assert (told["node"], told["pod"], told["namespace"]) == (node, pod["metadata"]["name"], echoes.name)
        assert told["peer"][0] == address  # nothing translates addresses between pods


@pytest.mark.parametrize("client", ["first", "second"])
def test_a_statefulset_pod_has_a_name(echoes: Namespace, client: str) -> None:
    for number in (0, 1):
        told = ask(echoes, client, f"http://ordinal-{number}.ordinal.{echoes}.svc.cluster.local:8080/")
        assert told["pod"] == f"ordinal-{number}"


def test_a_headless_service_resolves_to_its_pods(echoes: Namespace) -> None:
    script = "import socket; print(*sorted({a[4][0] for a in socket.getaddrinfo('ordinal', 8080, socket.AF_INET)}))"
    found = echoes.run_in_pod("first", "python3", "-c", script).split()
    assert found == sorted(pod["status"]["podIP"] for pod in echoes.pods("app=ordinal"))


@pytest.mark.parametrize("form", ["name", "address"])
def test_a_service_reaches_all_its_pods(echoes: Namespace, form: str) -> None:
    address = echoes.get("Service/echo")["spec"]["clusterIP"] if form == "address" else "echo"
    job = {"url": f"http://{address}/", "requests": 200, "reuse": False}
    wanted, seen = {pod["metadata"]["name"] for pod in echoes.pods("app=echo")}, set()
    for number in range(5):  # the client's node may know only some of the pods at first
        with Load(echoes, f"by-{form}-{number}", job, {}) as load:
            result = load.wait()
        result.assert_no_failures()
        seen = set(result.pods)
        if seen == wanted:
            break
    assert seen == wanted


def test_every_node_answers_at_the_node_port(cluster: Cluster, echoes: Namespace) -> None:
    port = echoes.get("Service/echo")["spec"]["ports"][0]["nodePort"]
    for node in cluster.nodes:
        connection = http.client.HTTPConnection(node.address, port, timeout=5)
        connection.request("GET", "/")
        assert json.loads(connection.getresponse().read())["namespace"] == echoes.name
        connection.close()
