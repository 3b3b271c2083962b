"""The chart's life with the real images: replicas apart, one leads, `helm test`, an upgrade that nobody notices."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.bed.waiting import BedError, until
from tests.cluster.install import RELEASE
from tests.cluster.support.chart import CHART, NAMESPACE
from tests.cluster.support.cluster import Cluster
from tests.cluster.support.mesh import PROXY, Mesh
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.traffic import Load

pytestmark = pytest.mark.cluster


def test_two_replicas_are_ready_apart_and_one_leads(mesh: Mesh, cluster: Cluster) -> None:
    found = mesh.replicas()
    assert len({each["spec"]["nodeName"] for each in found}) == len(found) == 2
    assert mesh.ready()
    until("somebody leads", mesh.leader, 30, 0.2)  # one that has just been replaced has given it back
    for each in found:
        said = cluster.kubectl("logs", "-n", NAMESPACE, each["metadata"]["name"])
        assert "Forbidden" not in said, "the roles allow what it does"
        assert "everything is known" in said


def test_helm_test_goes_through_every_door(mesh: Mesh) -> None:
    said = mesh.helm("test", RELEASE, "--timeout=60s", "--logs")
    assert "Succeeded" in said
    for door in ("ready: True", "discovery: TLSv1.3", "admission: TLSv1.3"):
        assert door in said, said
    assert mesh.items("pods", "--field-selector=metadata.name=sidewinder-test") == [], "a test leaves nothing behind"


class Making:
    """Pods that are made all the time, without being kept; every one must be admitted, and get a proxy."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.made = 0
        self.refused: list[str] = []

    def _run(self) -> None:
        container = {"name": "none", "image": "none"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "made"}, "spec": {"containers": [container]}}
        words = ("create", "--dry-run=server", "-o", "json", "-n", self._namespace, "-f", "-")
        while not self._stop.is_set():
            try:
                found: dict[str, Any] = json.loads(self._cluster.kubectl(*words, text=json.dumps(pod)))
                assert PROXY in [each["name"] for each in found["spec"]["initContainers"]]
                self.made += 1
            except (BedError, AssertionError, KeyError) as error:
                self.refused.append(repr(error))

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join(30)


def test_an_upgrade_fails_no_request_and_keeps_no_pod_waiting(
    mesh: Mesh, cluster: Cluster, injected: Namespace, tmp_path: Path
) -> None:
    injected.apply("shop.yaml", retry="{attempts: 2, conditions: [ConnectFailure, ResetBeforeRequest]}")
    injected.wait_for("Deployment/backend")
    mesh.live("backend", injected.name)
    before = {each["metadata"]["name"] for each in mesh.replicas()}
    making = Making(cluster, injected.name)
    with (
        making.running(),
        Load(injected, "load", {"url": "http://backend/", "rate": 50, "concurrency": 4}, {}) as load,
    ):
        mesh.install("--set=proxy.drainSeconds=20", chart=other_version(tmp_path))
        until("the old replicas have gone", lambda: not before & everybody(mesh), 60, 0.2)
        cluster.kubectl("rollout", "restart", "deployment/backend", "-n", injected)
        injected.wait_for("Deployment/backend", seconds=120)
        mesh.live("backend", injected.name)
        mesh.install()  # and back: a rollback is an upgrade, too
    assert load.result is not None
    load.result.assert_no_failures()
    assert making.refused == []
    assert making.made > 20
    history = json.loads(mesh.helm("history", RELEASE, "--output=json"))
    assert [each["chart"] for each in history][-3:] == ["sidewinder-0.1.0", "sidewinder-0.2.0", "sidewinder-0.1.0"]
    assert history[-1]["status"] == "deployed"


def everybody(mesh: Mesh) -> set[str]:
    """The operator's pods, those on their way out included."""
    return {each["metadata"]["name"] for each in mesh.items("pods", "-l", "app.kubernetes.io/component=operator")}


def other_version(folder: Path) -> Path:
    """The chart as it will be in its next release."""
    shutil.copytree(CHART, folder / "sidewinder")
    about = folder / "sidewinder/Chart.yaml"
    about.write_text(about.read_text().replace("0.1.0", "0.2.0"))
    return folder / "sidewinder"
