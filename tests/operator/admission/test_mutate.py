"""Pods get a proxy or a reason; everything else is admitted as it is."""

from __future__ import annotations

import msgspec
import pytest

from sidewinder_operator.admission.mutate import mutate
from sidewinder_operator.admission.review import ADMITTED, GroupKind, Request
from sidewinder_operator.inject.options import Options

OPTIONS = Options(image="example.org/sidecar:1")
POD = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web"}]}}
REQUEST = Request(uid="u", kind=GroupKind("", "v1", "Pod"), operation="CREATE", namespace="shop", object=POD)


def asked(labels=None, **changes):
    return mutate(msgspec.structs.replace(REQUEST, **changes), OPTIONS, lambda namespace: labels or {})


def test_a_pod_gets_its_proxy():
    assert {"/spec/initContainers", "/spec/volumes"} <= {each["path"] for each in asked().patch}


@pytest.mark.parametrize(
    "changes",
    [{"operation": "UPDATE"}, {"kind": GroupKind("apps", "v1", "Deployment")}, {"object": None}],
    ids=["an update", "another kind", "nothing"],
)
def test_what_is_no_new_pod_is_admitted(changes):
    assert asked(**changes) == ADMITTED


def test_a_refusal_names_us_and_the_reason():
    pod = {"metadata": {"annotations": {"sidewinder.dev/log-level": "x"}}, "spec": POD["spec"]}
    assert asked(object=pod).refused.startswith("sidewinder cannot inject its proxy: metadata.annotations")


def test_the_namespaces_labels_are_asked_for():
    assert "enforces Pod Security" in asked({"pod-security.kubernetes.io/enforce": "restricted"}).refused


def test_who_is_passed_over_is_told():
    answer = asked(namespace="kube-system")
    assert not answer.patch
    assert "no proxy is injected" in answer.warnings[0]


@pytest.mark.parametrize(
    "pod",
    [
        {},
        {"spec": None},
        {"spec": {"containers": []}},
        {"spec": {"containers": ["x"]}},
        {"metadata": 1, "spec": POD["spec"]},
        {"metadata": {"annotations": []}, "spec": POD["spec"]},
        {"metadata": {}, "spec": {"containers": [{}], "volumes": {"a": 1}}},
    ],
)
def test_nonsense_is_refused_not_crashed_on(pod):
    assert asked(object=pod).refused
