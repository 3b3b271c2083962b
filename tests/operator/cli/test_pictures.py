"""What stands in front of a Service: by manifests, by a running `up`, by a cluster's pods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidewinder_operator.cli import pictures, status
from sidewinder_operator.cli.kubectl import Unreachable
from sidewinder_operator.cli.pictures import Absent, Target, from_cluster, from_files, from_up
from tests.support.kubectl import FakeKubectl

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: bookinfo}
spec:
  selector: {app: reviews}
  ports: [{name: http, port: 80, targetPort: 9080}, {name: admin, port: 81, targetPort: admin}]
"""
POLICY = """
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: strict, namespace: bookinfo}
spec:
  targetRefs: [{kind: Service, name: reviews}]
  mtls: {mode: Strict}
"""
PROCESSES = """
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: reviews-v1, namespace: bookinfo, labels: {app: reviews, version: v1}}
spec: {command: [reviews]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: reviews-v2, namespace: bookinfo, labels: {app: reviews, version: v2}}
spec: {command: [reviews]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: reviews-v1, namespace: other, labels: {app: reviews}}
spec: {command: [reviews]}
"""
REVIEWS = Target("bookinfo", "reviews")


def files(folder: Path, *texts: str) -> tuple[Path, ...]:
    (folder / "all.yaml").write_text("\n---\n".join(texts))
    return (folder,)


def test_manifests_without_processes_are_thought_of_as_a_pod(tmp_path: Path) -> None:
    [picture], problems = from_files(files(tmp_path, SERVICE, POLICY), REVIEWS)
    assert (picture.who, picture.port, problems) == ("a pod with app=reviews", 9080, [])
    assert {name.split("/")[0] for name in picture.resources} >= {"proxy", "listener", "service", "policy"}
    [admin], _ = from_files((tmp_path,), Target("bookinfo", "reviews", "admin"))
    assert admin.port == 81, "a port that is known by name alone has the Service's own number"


def test_each_process_that_the_service_selects_has_its_own_picture(tmp_path: Path) -> None:
    found, _ = from_files(files(tmp_path, SERVICE, POLICY, PROCESSES), REVIEWS)
    assert [picture.who for picture in found] == [
        "LocalProcess bookinfo/reviews-v1",
        "LocalProcess bookinfo/reviews-v2",
    ]
    ports = [msgspec.json.decode(each.resources["listener/inbound"])["port"] for each in found]
    assert ports == [each.port for each in found]


def test_what_is_wrong_with_the_manifests_is_told(tmp_path: Path) -> None:
    _, problems = from_files(files(tmp_path, SERVICE, POLICY.replace("Strict", "Stricter")), REVIEWS)
    assert [problem.field for problem in problems if problem.severity == "Error"] == ["spec.mtls.mode"]


ABSENT = {
    "no such Service": (SERVICE, Target("bookinfo", "ratings"), "these manifests have no Service bookinfo/ratings"),
    "no such port": (SERVICE, Target("bookinfo", "reviews", "82"), r"no port 82; it has 80 \(http\), 81 \(admin\)"),
    "nobody": (SERVICE.replace("selector: {app: reviews}", "selector: {}"), REVIEWS, "selects nobody"),
}


@pytest.mark.parametrize(("text", "target", "why"), ABSENT.values(), ids=ABSENT)
def test_what_is_not_there_is_told(text: str, target: Target, why: str, tmp_path: Path) -> None:
    with pytest.raises(Absent, match=why):
        from_files(files(tmp_path, text), target)


PATH = "/api/v1/namespaces/bookinfo"


def pod(name: str, *, proxy: bool = True, phase: str = "Running", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"app": "reviews", **labels}},
        "spec": {
            "initContainers": [{"name": "sidewinder-proxy"}] if proxy else [],
            "containers": [{"ports": [{"name": "admin", "containerPort": 9443}]}],
        },
        "status": {"phase": phase},
    }


class Cluster(FakeKubectl):
    def __init__(self, *pods: dict[str, Any]) -> None:
        ports = [{"name": "http", "port": 80, "targetPort": 9080}, {"name": "admin", "port": 81, "targetPort": "admin"}]
        service = {"metadata": {"name": "reviews"}, "spec": {"selector": {"app": "reviews"}, "ports": ports}}
        super().__init__({f"{PATH}/services/reviews": service, f"{PATH}/pods": list(pods)})
        self.asked: list[str] = []
        self.answer: Any = {"resources": {"proxy/self": {}}}

    def ask(self, namespace: str, name: str, port: int, path: str) -> Any:
        assert (namespace, port, path) == ("bookinfo", 15000, "/config")
        self.asked.append(name)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_one_pod_of_each_kind_is_asked() -> None:
    cluster = Cluster(
        pod("gone", phase="Succeeded"),
        pod("v1-a", version="v1", **{"pod-template-hash": "1"}),
        pod("v1-b", version="v1", **{"pod-template-hash": "2"}),
        pod("v2-a", version="v2"),
    )
    found = from_cluster(cluster, Target("bookinfo", "reviews", "http"))
    assert cluster.asked == ["v1-a", "v2-a"]
    assert [(each.who, each.port) for each in found] == [("Pod bookinfo/v1-a", 9080), ("Pod bookinfo/v2-a", 9080)]
    assert [each.port for each in from_cluster(cluster, Target("bookinfo", "reviews", "81"))] == [9443, 9443]


def test_a_cluster_that_cannot_say() -> None:
    with pytest.raises(Absent, match="there is no Service bookinfo/ratings"):
        from_cluster(Cluster(), Target("bookinfo", "ratings"))
    with pytest.raises(Absent, match="selects no pod that runs"):
        from_cluster(Cluster(pod("gone", phase="Failed")), REVIEWS)
    with pytest.raises(Absent, match="pod plain has no proxy"):
        from_cluster(Cluster(pod("plain", proxy=False)), REVIEWS)
    nameless = pod("nameless")
    del nameless["spec"]["containers"][0]["ports"]
    with pytest.raises(Absent, match="pod nameless has no port of the name admin"):
        from_cluster(Cluster(nameless), Target("bookinfo", "reviews", "admin"))
    silent = Cluster(pod("silent"))
    silent.answer = Unreachable("no route")
    with pytest.raises(Absent, match="the proxy of pod silent cannot be asked: no route"):
        from_cluster(silent, REVIEWS)
    odd = Cluster(pod("odd"))
    odd.answer = ["?"]
    with pytest.raises(Absent, match="not like a proxy of this version"):
        from_cluster(odd, REVIEWS)


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    told: dict[str, Any] = {
        "services": {"bookinfo/reviews": ["LocalProcess/bookinfo/reviews/0"], "bookinfo/empty": []},
        "proxies": [
            {"id": "Gateway/way-in", "ports": {"inbound": 8080, "admin": 1}},
            {"id": "LocalProcess/bookinfo/reviews/0", "ports": {"inbound": 15000, "admin": 2}},
        ],
    }
    monkeypatch.setattr(status, "ask", lambda state: json.dumps(told).encode())
    monkeypatch.setattr(pictures, "_asked", lambda port: {"resources": {"proxy/self": {"port": port}}})
    return told


def test_a_running_up_is_asked_for_who_serves(up: dict[str, Any], tmp_path: Path) -> None:
    [found] = from_up(tmp_path, REVIEWS)
    assert (found.who, found.port) == ("LocalProcess/bookinfo/reviews/0", 15000)
    assert found.resources == {"proxy/self": {"port": 2}}
    with pytest.raises(Absent, match="has no Service bookinfo/ratings"):
        from_up(tmp_path, Target("bookinfo", "ratings"))
    with pytest.raises(Absent, match="nobody serves bookinfo/empty"):
        from_up(tmp_path, Target("bookinfo", "empty"))


def test_a_sidecar_that_is_gone_is_told() -> None:
    with pytest.raises(Absent, match="does not answer"):
        pictures._asked(1)


def test_a_target_as_it_is_told() -> None:
    assert (str(REVIEWS), str(Target("a", "b", "http"))) == ("bookinfo/reviews", "a/b:http")
