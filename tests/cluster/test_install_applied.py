"""`helm template | kubectl apply`, and `kubectl delete` at the end: no Helm in the cluster, as GitOps does it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.cluster.bed.waiting import until
from tests.cluster.images.build import Built
from tests.cluster.install import values
from tests.cluster.support.chart import NAMESPACE, render
from tests.cluster.support.cluster import Cluster

pytestmark = pytest.mark.cluster

Documents = list[dict[str, Any]]


@pytest.fixture
def documents(cluster: Cluster, built: Callable[[str], Built]) -> Iterator[Documents]:
    """The whole render with the real images."""
    references = []
    for name in ("sidewinder-operator", "sidewinder-sidecar"):
        made = built(name)
        cluster.load(made.archive)
        references.append(made.reference)
    yield [each for each in yaml.safe_load_all(render("--skip-tests", *values(*references))) if each]
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=60s")
    cluster.kubectl("delete", "crd", "-l", "app.kubernetes.io/part-of=sidewinder")


def test_a_render_that_is_applied_runs_and_one_that_is_deleted_is_gone(cluster: Cluster, documents: Documents) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    crds = [each for each in documents if each["kind"] == "CustomResourceDefinition"]
    rest = [each for each in documents if each not in crds]
    cluster.kubectl("apply", "--server-side", "-f", "-", text=yaml.safe_dump_all([space, *crds]))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "-l", "app.kubernetes.io/part-of=sidewinder")
    cluster.kubectl("apply", "--server-side", "-f", "-", text=yaml.safe_dump_all(rest))
    cluster.kubectl("rollout", "status", "deployment/sidewinder-operator", "-n", NAMESPACE, "--timeout=90s")
    until("somebody leads", lambda: made(cluster, "leases"), 30, 0.2)
    again = cluster.kubectl("apply", "--server-side", "-f", "-", text=yaml.safe_dump_all(documents))
    assert "conflict" not in again
    cluster.kubectl("delete", "-f", "-", text=yaml.safe_dump_all(rest), seconds=90)
    until("what the operator had made is gone", lambda: not made(cluster, "leases,configmaps"), 60, 0.2)


def made(cluster: Cluster, kinds: str) -> list[str]:
    """Objects of these kinds in the operator's namespace, without what Kubernetes puts there."""
    found = json.loads(cluster.kubectl("get", kinds, "-n", NAMESPACE, "-o", "json"))["items"]
    return [each["metadata"]["name"] for each in found if each["metadata"]["name"] != "kube-root-ca.crt"]
