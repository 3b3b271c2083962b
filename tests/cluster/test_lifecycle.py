"""The order in which a pod's containers start and end, which an injected sidecar relies on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cluster.support.cluster import Cluster
from tests.cluster.support.namespace import Namespace

pytestmark = pytest.mark.cluster


@pytest.fixture
def events(cluster: Cluster, namespace: Namespace) -> Iterator[str]:
    """A folder on the second node that outlives the pod, with the file that all its containers write to."""
    folder, node = f"/var/tmp/{namespace}", cluster.nodes[1]
    node.run("install", "-D", "--mode=666", "/dev/null", f"{folder}/log")  # the containers run as uids of their own
    yield folder
    node.run("rm", "--recursive", folder)


def test_a_native_sidecar_starts_first_and_ends_last(cluster: Cluster, namespace: Namespace, events: str) -> None:
    node = cluster.nodes[1]
    namespace.apply("sidecar.yaml", events=events, node=node.name)
    namespace.wait_for("Pod/meshed")
    started = json.loads(node.run("cat", f"{events}/log").splitlines()[0])
    assert started["who"] == "sidecar"
    namespace.delete("Pod/meshed")
    namespace.wait_gone("Pod/meshed")
    order = [json.loads(line) for line in node.run("cat", f"{events}/log").splitlines()]
    said = [(event["who"], event["what"]) for event in order]
    assert said[:2] == [("sidecar", "starts"), ("application", "starts")]
    assert order[1]["at"] - order[0]["at"] >= 1  # the startup probe held the application back
    # Both preStop hooks begin at once, not one after the other; the signal for the sidecar comes when all others ended.
    before = said[: said.index(("application", "SIGTERM"))]
    assert {("application", "preStop begins"), ("sidecar", "preStop begins")} <= set(before)
    ends = [event for event in said if event[1] in ("SIGTERM", "ends")]
    assert ends == [(who, what) for who in ("application", "sidecar") for what in ("SIGTERM", "ends")]
    for who in ("application", "sidecar"):
        assert said.index((who, "preStop ends")) < said.index((who, "SIGTERM"))


def test_an_init_container_with_net_admin_redirects_the_application_but_not_the_sidecar(
    cluster: Cluster, namespace: Namespace, events: str
) -> None:
    namespace.apply("sidecar.yaml", events=events, node=cluster.nodes[1].name)
    namespace.wait_for("Pod/meshed")
    assert "redirect to :15001" in namespace.logs("meshed", "redirect")
    command = ("python3", "-m", "apps", "get", "http://192.0.2.1/")  # an address that nothing has
    told = json.loads(namespace.run_in_pod("meshed", *command, container="application"))
    assert told["name"] == "sidecar"
    own = namespace.try_in_pod("meshed", *command, container="sidecar")
    assert own.status != 0


def test_a_job_with_a_native_sidecar_completes(namespace: Namespace) -> None:
    namespace.apply("job.yaml")
    namespace.wait_for("Job/work")
    (pod,) = namespace.objects.list("Pod", namespace.name, label_selector="job-name=work")
    assert "/from-the-job" in namespace.logs(pod["metadata"]["name"], "work")
