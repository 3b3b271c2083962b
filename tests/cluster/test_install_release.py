"""The chart's life with the real images: installed, its operator ready and leading, upgraded, uninstalled."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.bed.waiting import run, until
from tests.cluster.images.build import Built
from tests.cluster.install import RELEASE, install
from tests.cluster.support.chart import NAMESPACE
from tests.cluster.support.cluster import Cluster

pytestmark = pytest.mark.cluster


def helm(cluster: Cluster, *words: object) -> str:
    return run("env", f"KUBECONFIG={cluster.kubeconfig}", cluster.bin / "helm", *words)


@pytest.fixture(scope="module")
def installed(cluster: Cluster, built: Callable[[str], Built]) -> Iterator[None]:
    """Ends as a person would end it; what is still there afterwards is taken away for the other tests."""
    install(cluster, built)
    yield
    helm(cluster, "uninstall", RELEASE, f"--namespace={NAMESPACE}", "--ignore-not-found", "--wait", "--timeout=60s")
    cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=60s")
    cluster.kubectl("delete", "crd", "-l", "app.kubernetes.io/part-of=sidewinder")


def pods(cluster: Cluster) -> list[str]:
    words = ("get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=operator", "-o", "json")
    return sorted(each["metadata"]["name"] for each in json.loads(cluster.kubectl(*words))["items"])


def holder(cluster: Cluster) -> str:
    words = ("get", "lease", "sidewinder-operator", "-n", NAMESPACE, "-o", "jsonpath={.spec.holderIdentity}")
    return cluster.kubectl(*words, "--ignore-not-found")


def test_two_replicas_are_ready_apart_and_one_leads(cluster: Cluster, installed: None) -> None:
    words = ("get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=operator", "-o", "json")
    found = json.loads(cluster.kubectl(*words))["items"]
    assert len({each["spec"]["nodeName"] for each in found}) == 2
    assert all(each["status"]["containerStatuses"][0]["ready"] for each in found)
    until("somebody leads", lambda: any(holder(cluster).startswith(name) for name in pods(cluster)), 30, 0.2)
    for name in pods(cluster):
        said = cluster.kubectl("logs", "-n", NAMESPACE, name)
        assert "Forbidden" not in said, "the roles allow what it does"
        assert "everything is known" in said


def test_an_upgrade_with_other_values_rolls_the_operator(
    cluster: Cluster, installed: None, built: Callable[[str], Built]
) -> None:
    before = pods(cluster)
    install(cluster, built, "--set=proxy.drainSeconds=20", "--set=operator.replicas=2")
    until("the old replicas have gone", lambda: not set(before) & set(pods(cluster)), 60, 0.2)
    history = json.loads(helm(cluster, "history", RELEASE, f"--namespace={NAMESPACE}", "--output=json"))
    assert [each["status"] for each in history] == ["superseded", "deployed"]


def test_an_uninstall_leaves_the_definitions_and_nothing_that_holds_anybody_up(
    cluster: Cluster, installed: None
) -> None:
    helm(cluster, "uninstall", RELEASE, f"--namespace={NAMESPACE}", "--wait", "--timeout=60s")
    kinds = "clusterrole,clusterrolebinding,mutatingwebhookconfiguration,validatingwebhookconfiguration"
    kinds += ",validatingadmissionpolicy,validatingadmissionpolicybinding"
    label = ("-l", "app.kubernetes.io/part-of=sidewinder", "-o", "name")
    assert cluster.kubectl("get", kinds, *label).split() == []
    left = cluster.kubectl(
        "get", "deployment,service,serviceaccount,role,rolebinding,configmap", "-n", NAMESPACE, *label
    )
    assert left.split() == []
    definitions = cluster.kubectl("get", "crd", *label).split()
    assert {each.partition("/")[2] for each in definitions} == {
        f"{name}.sidewinder.dev" for name in ("apiroutes", "apipolicies", "externalworkloads")
    }
