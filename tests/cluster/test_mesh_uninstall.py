"""The end: an uninstall under load. Pods that run go on working; definitions and the CA's key stay, nothing else.

Last of the files that share the installation, by its name.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cluster.bed.waiting import until
from tests.cluster.install import RELEASE
from tests.cluster.support.chart import NAMESPACE
from tests.cluster.support.cluster import Cluster
from tests.cluster.support.containers import kill, wait_restarted
from tests.cluster.support.mesh import PROXY, Mesh
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.traffic import Load

pytestmark = pytest.mark.cluster

# What every namespace has, whoever is installed there.
ALWAYS = {"configmaps/kube-root-ca.crt", "serviceaccounts/default"}
BUNDLE = "--field-selector=metadata.name=sidewinder-trust"
PASSING = ("events", "pods.metrics.k8s.io")
NAMES = ("apiroutes", "apipolicies", "externalworkloads")
# The definitions, and the group that the API server serves because of them.
CRDS = {f"customresourcedefinitions/{name}.sidewinder.dev" for name in NAMES} | {"apiservices/v1alpha1.sidewinder.dev"}


def kinds(cluster: Cluster, namespaced: bool) -> list[str]:
    """Every kind that can be listed here."""
    words = ("api-resources", "--verbs=list", f"--namespaced={str(namespaced).lower()}", "-o", "name")
    return [kind for kind in cluster.kubectl(*words).split() if not kind.startswith(PASSING)]


def left(cluster: Cluster, namespace: str) -> set[str]:
    """Everything in a namespace, whatever its kind."""
    words = ("get", ",".join(kinds(cluster, True)), "-n", namespace, "-o", "json")
    found = json.loads(cluster.kubectl(*words))["items"]
    return {f"{plural(each)}/{each['metadata']['name']}" for each in found} - ALWAYS


def around(cluster: Cluster) -> set[str]:
    """Everything of ours that is in no namespace."""
    words = ("get", ",".join(kinds(cluster, False)), "-o", "json")
    found = json.loads(cluster.kubectl(*words))["items"]
    return {f"{plural(each)}/{each['metadata']['name']}" for each in found if "sidewinder" in each["metadata"]["name"]}


def plural(thing: dict[str, Any]) -> str:
    return f"{thing['kind'].lower()}s"


def finalized(cluster: Cluster, namespace: str) -> list[str]:
    """Objects of ours that somebody who is gone would have to let go."""
    words = ("get", "apiroutes,apipolicies,externalworkloads,configmaps,secrets,pods", "-n", namespace, "-o", "json")
    found = json.loads(cluster.kubectl(*words))["items"]
    return [each["metadata"]["name"] for each in found if each["metadata"].get("finalizers")]


def test_an_uninstall_leaves_definitions_and_the_key_and_pods_that_work(
    mesh: Mesh, cluster: Cluster, injected: Namespace
) -> None:
    injected.apply("shop.yaml", retry="{attempts: 2, conditions: [ConnectFailure, ResetBeforeRequest]}")
    injected.wait_for("Deployment/backend")
    mesh.live("backend", injected.name)
    until("what was good is kept", lambda: mesh.items("controllerrevisions"), 30, 0.5)
    with Load(injected, "load", {"url": "http://backend/", "rate": 50, "concurrency": 4}, {}) as load:
        mesh.helm("uninstall", RELEASE, "--wait", "--timeout=60s")
        until("only the key is left", lambda: left(cluster, NAMESPACE) == {"secrets/sidewinder-ca"}, 60, 0.5)
        until("no bundle is left", lambda: not mesh.items("configmaps", BUNDLE, namespace=injected.name), 30, 0.5)
        assert around(cluster) == CRDS | {f"namespaces/{NAMESPACE}"}
        assert finalized(cluster, injected.name) == []
        pod = injected.pods("app=backend")[0]
        kill(cluster, pod, PROXY)
        wait_restarted(injected, pod, PROXY)
    assert load.result is not None
    load.result.assert_no_failures()
    assert injected.get("ApiRoute/backend", "sidewinder.dev/v1alpha1") is not None, "nobody's routes are taken away"
    mesh.remove()
