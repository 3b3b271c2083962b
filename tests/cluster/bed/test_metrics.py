"""The aggregation layer and what comes through it: `kubectl top`, the HorizontalPodAutoscaler; and the audit log."""

from __future__ import annotations

import json

import pytest

from tests.cluster.bed.bed import Bed
from tests.cluster.bed.probes import Probes, pod, service, workload
from tests.cluster.bed.waiting import until

pytestmark = pytest.mark.cluster


def test_the_metrics_api_is_aggregated(shared_bed: Bed) -> None:
    shared_bed.wait_metrics()
    status = shared_bed.api.get("/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io")["status"]
    assert {each["type"]: each["status"] for each in status["conditions"]}["Available"] == "True"
    lines = shared_bed.kubectl("top", "nodes", "--no-headers").splitlines()
    assert [line.split()[0] for line in lines] == ["node1", "node2"]


def test_load_scales_a_deployment_up(probes: Probes) -> None:
    """CPU is burnt in the one pod until the autoscaler, which sees it through the metrics API, adds another."""
    web = workload("Deployment", "web", 1)
    web["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "50m"}}
    probes.start(web, service("web", "web"), pod("client"))
    probes.kubectl("rollout", "status", "deployment/web", "--timeout=40s")
    probes.kubectl("autoscale", "deployment/web", "--min=1", "--max=2", "--cpu=50%")
    replicas = "jsonpath={.spec.replicas}"

    def scaled() -> bool:
        # Answers with nothing, so this is False; the load is what counts, also while the Service is not known yet.
        probes.reaches("client", "http://web/burn?for=1s")
        return probes.kubectl("get", "deployment/web", f"--output={replicas}") == "2"

    until("second pod", scaled, 60)
    assert "web-" in probes.kubectl("top", "pods", "--no-headers")


def test_the_audit_log_says_who_did_what(probes: Probes) -> None:
    probes.kubectl("create", "configmap", "noted")

    def found() -> bool:
        entries = map(json.loads, probes.bed.audit_log.read_text().splitlines())
        return any(
            entry["verb"] == "create" and entry["user"]["username"] == "admin"
            for entry in entries
            if entry.get("objectRef", {}).get("name") == "noted" and entry["objectRef"]["namespace"] == probes.namespace
        )

    until("the entry", found, 5)
