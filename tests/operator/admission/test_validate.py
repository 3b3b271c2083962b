"""What an object shows by itself is refused; what others could make right is a warning."""

from __future__ import annotations

import copy

import yaml

from sidewinder_operator.admission.review import ADMITTED, GroupKind, Request
from sidewinder_operator.admission.validate import against, validate, warned
from sidewinder_operator.compile.compiler import Options
from sidewinder_operator.resources import Cluster, gather
from sidewinder_operator.resources.read import read

ROUTE = yaml.safe_load("""
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: reviews, namespace: shop, uid: u, generation: 1}
spec:
  parentRefs: [{kind: Service, name: reviews}]
  rules:
  - name: all
    backendRefs: [{name: reviews, port: 80}]
""")
SERVICE = yaml.safe_load("""
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {selector: {app: reviews}, ports: [{port: 80}]}
""")


def request(raw, operation="CREATE", old=None, kind="ApiRoute", group="sidewinder.dev"):
    return Request(uid="u", kind=GroupKind(group, "v1alpha1", kind), operation=operation, object=raw, old_object=old)


def broken():
    raw = copy.deepcopy(ROUTE)
    raw["spec"]["rules"][0]["backendRefs"][0]["weight"] = -1
    return raw


def test_a_good_route_is_handed_on():
    answer, found = validate(request(ROUTE))
    assert not answer.refused
    assert found.name == "reviews"


def test_a_broken_one_is_refused_with_field_and_reason():
    answer, found = validate(request(broken()))
    assert found is None
    assert "spec.rules[0].backendRefs[0].weight" in answer.refused


def test_what_was_broken_before_may_still_be_labelled_and_go():
    answer, _ = validate(request(broken(), "UPDATE", old=broken()))
    assert not answer.refused
    assert answer.warnings
    going = broken()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert validate(request(going, "UPDATE", old=ROUTE)) == (ADMITTED, None)


def test_a_change_that_breaks_it_is_refused():
    assert validate(request(broken(), "UPDATE", old=ROUTE))[0].refused


def test_others_kinds_and_deletions_are_admitted():
    assert validate(request(None, "DELETE")) == (ADMITTED, None)
    assert validate(request({}, kind="Pod", group="")) == (ADMITTED, None)


def test_a_missing_service_is_a_warning_and_goes_when_it_is_there():
    route, service = read(ROUTE).found, read(SERVICE).found
    problems = against(Cluster(), route, Options())
    assert problems
    answer = warned(ADMITTED, problems)
    assert not answer.refused
    assert any("reviews" in warning for warning in answer.warnings)
    assert against(gather([service]), route, Options()) == []


def test_the_cluster_is_not_changed_by_being_asked():
    cluster = gather([read(SERVICE).found])
    against(cluster, read(ROUTE).found, Options())
    assert cluster.routes == {}


POLICY = yaml.safe_load("""
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: keys, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: reviews}]
  authentication: {providers: [{name: keys, type: APIKey, apiKey: {secretRef: {name: keys}}}]}
""")


def test_a_secret_that_nobody_has_named_yet_is_not_said_to_be_missing() -> None:
    """A replica reads it when the policy is there: whether it exists cannot be known before."""
    policy, service = read(POLICY).found, read(SERVICE).found
    assert policy is not None
    assert service is not None
    assert against(gather([service]), policy, Options()) == []
    assert [problem.reason for problem in against(Cluster(), policy, Options())] == ["TargetNotFound"]
