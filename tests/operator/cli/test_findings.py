"""Each question: what is well is said to be, what is not is told with what to do."""

from __future__ import annotations

import datetime as dt

import pytest

from sidewinder_operator.cli import findings
from sidewinder_operator.cli.findings import Place
from sidewinder_operator.cli.kubectl import Refused
from tests.support.kubectl import FakeKubectl

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
PLACE = Place(namespace="sys", now=NOW, version="0.1.0")
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DEPLOYMENT = "/apis/apps/v1/namespaces/sys/deployments/sidewinder-operator"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/sys/leases/sidewinder-operator"
NODES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


def told(check, things, **changes):
    api = FakeKubectl(things)
    for name, value in changes.items():
        setattr(api, name, value)
    found = list(check(api, PLACE))
    assert all(each.advice for each in found if each.level == "error"), "an error says what to do"
    return [(each.level, each.message) for each in found]


def ago(seconds):
    return (NOW - dt.timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("minor", "level"), [("29", "error"), ("30", "ok"), ("31+", "ok"), ("", "error")], ids=lambda value: value or "none"
)
def test_kubernetes_is_new_enough(minor, level):
    ((found, _),) = told(findings.version, {"/version": {"major": "1", "minor": minor, "gitVersion": f"v1.{minor}.1"}})
    assert found == level


def test_who_may_not_install_is_told_what_is_lacking():
    assert told(findings.permissions, {}) == [("ok", "you may install")]
    ((level, message),) = told(findings.permissions, {}, forbidden={"clusterroles", "namespaces"})
    assert (level, message) == ("error", "you may not create namespaces, create clusterroles")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(5, []), (-90, [("error", "the clock of n1 is 90 s ahead of ours")]),
     (300, [("warning", "n1 was last heard of 300 s ago by our clock")])],
    ids=["right", "ahead", "behind, or dead"],
)  # fmt: skip
def test_clocks_are_compared(seconds, expected):
    leases = [{"metadata": {"name": "n1"}, "spec": {"renewTime": ago(seconds)}}]
    assert told(findings.clocks, {NODES: leases}) == [*expected, ("ok", "the clocks of 1 nodes were compared")]


def test_without_leases_nothing_is_said_of_clocks():
    assert told(findings.clocks, {NODES: [{"metadata": {"name": "n"}, "spec": {}}]})[0][0] == "warning"


def crd(served=True, established="True"):
    return {
        "spec": {"versions": [{"name": "v1alpha1", "served": served}]},
        "status": {"conditions": [{"type": "Established", "status": established}]},
    }


def test_definitions():
    names = ("apiroutes", "apipolicies", "externalworkloads")
    good = {f"{CRDS}/{name}.sidewinder.dev": crd() for name in names}
    assert {level for level, _ in told(findings.definitions, good)} == {"ok"}
    bad = {f"{CRDS}/apiroutes.sidewinder.dev": crd(served=False), f"{CRDS}/apipolicies.sidewinder.dev": crd(True, "No")}
    assert sorted(told(findings.definitions, bad)) == [
        ("error", "apipolicies.sidewinder.dev serves v1alpha1, and is not established"),
        ("error", "apiroutes.sidewinder.dev serves nothing"),
        ("error", "externalworkloads.sidewinder.dev is missing"),
    ]


@pytest.mark.parametrize(
    ("wanted", "ready", "version", "levels"),
    [(2, 2, "0.1.0", ["ok"]), (2, 1, "0.1.0", ["warning"]), (2, 0, "0.1.0", ["error"]), (1, 1, "0.1.0", ["warning"]),
     (2, 2, "0.2.0", ["ok", "warning"])],
    ids=["well", "one lacks", "none", "alone", "another version"],
)  # fmt: skip
def test_replicas(wanted, ready, version, levels):
    deployment = {
        "metadata": {"labels": {"app.kubernetes.io/version": version}},
        "spec": {"replicas": wanted},
        "status": {"readyReplicas": ready},
    }
    assert [level for level, _ in told(findings.replicas, {DEPLOYMENT: deployment})] == levels


@pytest.mark.parametrize(
    ("spec", "level"),
    [({"holderIdentity": "a", "renewTime": ago(3)}, "ok"), ({"holderIdentity": "a", "renewTime": ago(600)}, "error"),
     ({"holderIdentity": "", "renewTime": ago(3)}, "error"), ({}, "error")],
    ids=["leads", "silent", "released", "never"],
)  # fmt: skip
def test_leader(spec, level):
    assert told(findings.leader, {LEASE: {"spec": spec}})[0][0] == level


def test_no_lease_is_no_leader():
    assert told(findings.leader, {})[0][0] == "error"


@pytest.mark.parametrize(
    ("refusal", "level"),
    [
        (None, "ok"),
        (Refused(500, 'failed calling webhook "objects.validation": dial tcp: timeout'), "error"),
        (Refused(403, 'admission webhook "x" denied the request'), "error"),
        (Refused(403, 'apiroutes is forbidden: User "x" cannot create'), "warning"),
    ],
    ids=["reached", "not reached", "denied", "no right"],
)
def test_a_dry_run_tells_whether_the_webhook_is_reached(refusal, level):
    api = FakeKubectl({})
    api.refusal = refusal
    (found,) = findings.validation(api, PLACE)
    assert found.level == level
    assert api.posted == ["/apis/sidewinder.dev/v1alpha1/namespaces/sys/apiroutes?dryRun=All"]
