"""`sidewinder check`: before and after the installation, for people and machines; what may not be looked at is told."""

from __future__ import annotations

import json

from sidewinder_operator.cli.check import as_json, check, now, show
from sidewinder_operator.cli.console import Voice
from sidewinder_operator.cli.findings import Place
from tests.support.kubectl import FakeKubectl

VERSION = {"/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}}
DEPLOYMENT = "/apis/apps/v1/namespaces/sys/deployments/sidewinder-operator"


def place():
    return Place(namespace="sys", now=now(), version="0.1.0")


def test_before_the_installation_the_cluster_is_looked_at():
    told = check(FakeKubectl(VERSION), place())
    assert [each.about for each in told] == ["Sidewinder", "Kubernetes", "clock", "permissions"]


def test_afterwards_sidewinder_is():
    deployment = {"metadata": {}, "spec": {"replicas": 2}, "status": {"readyReplicas": 2}}
    told = check(FakeKubectl(VERSION | {DEPLOYMENT: deployment}), place())
    assert {"CRDs", "operator", "leader", "validation", "webhooks", "injection"} <= {each.about for each in told}


def test_what_may_not_be_looked_at_stops_nothing():
    api = FakeKubectl(VERSION)
    api.forbidden = {"/version"}
    told = check(api, place())
    assert told[1].message == "it could not be looked at: /version is forbidden"
    assert told[-1].about == "permissions"


def test_findings_are_printed_with_what_to_do(capsys):
    api = FakeKubectl(VERSION)
    api.forbidden = {"namespaces"}
    show(check(api, place()), Voice())
    printed = capsys.readouterr()
    assert "error: permissions: you may not create namespaces" in printed.err
    assert "→ have a cluster administrator install the chart" in printed.out + printed.err


def test_machines_get_json():
    found = json.loads(as_json(check(FakeKubectl(VERSION), place())))["findings"]
    assert found[0].keys() == {"level", "about", "message", "advice"}
