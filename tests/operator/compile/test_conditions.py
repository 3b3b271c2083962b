"""Statuses as data, for the whole object and for each parent or target."""

from __future__ import annotations

import msgspec

from sidewinder_operator.compile.compiler import compile_cluster
from sidewinder_operator.compile.conditions import LONGEST_MESSAGE, Condition, Status, statuses
from sidewinder_operator.compile.keys import wanted
from sidewinder_operator.problems import Problem, Reference
from sidewinder_operator.resources.keys import Fetched
from tests.support.clusters import Given, given

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: 80}]}
---
"""
ROUTE = """
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: web, namespace: shop, generation: 5}
spec:
  parentRefs: [{kind: Service, name: web}, {kind: Service, name: web, port: 81}]
  rules: [{name: all, backendRefs: [{name: web, port: 80}, {name: nowhere, port: 80}]}]
"""


def status(found: Given, kind: str = "ApiRoute") -> Status:
    compiled = compile_cluster(found.cluster)
    return statuses(found.cluster, compiled, found.problems)[Reference(kind, "shop", "web")]


def summary(conditions: tuple[Condition, ...]) -> list[tuple[str, str, str]]:
    return [(condition.type, condition.status, condition.reason) for condition in conditions]


GOOD = [("Accepted", "True", "Accepted"), ("ResolvedRefs", "True", "ResolvedRefs")]
UNRESOLVED = ("ResolvedRefs", "False", "BackendNotFound")


def test_a_missing_parent_counts_for_that_parent_and_a_missing_backend_for_all() -> None:
    found = status(given(SERVICE + ROUTE))
    assert summary(found.conditions) == [("Accepted", "False", "NoMatchingParent"), UNRESOLVED]
    assert [summary(part.conditions) for part in found.parts] == [
        [GOOD[0], UNRESOLVED],
        [("Accepted", "False", "NoMatchingParent"), UNRESOLVED],
    ]
    assert found.observed_generation == 5
    assert not found.stale


def test_keys_that_cannot_be_had_are_a_condition_of_the_policy_that_is_accepted() -> None:
    text = """
    apiVersion: sidewinder.dev/v1alpha1
    kind: ApiPolicy
    metadata: {name: web, namespace: shop}
    spec:
      targetRefs: [{kind: Namespace}]
      authentication: {providers: [{name: idp, type: JWT, jwt: {issuer: "https://idp.example"}}]}
    """
    found = given(text)
    assert summary(status(found, "ApiPolicy").conditions) == [GOOD[0]]
    (name,) = wanted(found.cluster)
    away = found._replace(cluster=msgspec.structs.replace(found.cluster, keys={name: Fetched(problem="it is away")}))
    told = status(away, "ApiPolicy").conditions
    assert summary(told) == [GOOD[0], ("ResolvedRefs", "False", "KeysUnavailable")]
    assert "it is away" in told[1].message


def test_references_are_echoed_as_written() -> None:
    cluster = given(SERVICE + ROUTE)
    (written,) = cluster.cluster.routes.values()
    assert tuple(part.ref for part in status(cluster).parts) == written.spec.parent_refs


def test_all_is_well() -> None:
    route = ROUTE.replace(", {kind: Service, name: web, port: 81}", "").replace(", {name: nowhere, port: 80}", "")
    found = status(given(SERVICE + route))
    assert summary(found.conditions) == summary(found.parts[0].conditions) == GOOD


def test_a_match_that_is_lost_leaves_the_route_accepted() -> None:
    route = ROUTE.replace(", {kind: Service, name: web, port: 81}", "").replace(", {name: nowhere, port: 80}", "")
    older = route.replace("name: web, namespace: shop", "name: older, namespace: shop")
    both = route.replace("[{name: all,", "[{name: x, matches: [{path: {value: /x}}], backendRefs: []}, {name: all,")
    found = status(given(SERVICE + older + "---" + both))
    assert summary(found.conditions) == [*GOOD, ("Overridden", "True", "Overridden")]
    assert "ApiRoute shop/older" in found.conditions[2].message


def test_a_broken_object_says_whether_anything_serves_in_its_place() -> None:
    broken = given(SERVICE + ROUTE.replace("parentRefs", "parentRef"))
    found = status(broken)
    assert summary(found.conditions)[0][:2] == ("Accepted", "False")
    assert found.conditions[0].message.endswith("nothing serves in its place")
    compiled = compile_cluster(broken.cluster, compile_cluster(given(SERVICE + ROUTE).cluster).last_good)
    found = statuses(broken.cluster, compiled, broken.problems)[Reference("ApiRoute", "shop", "web")]
    assert found.stale
    assert found.conditions[0].message.endswith("the last good version serves on")


def test_a_message_stays_within_what_a_condition_may_hold() -> None:
    found = given(SERVICE + ROUTE)
    reference = Reference("ApiRoute", "shop", "web")
    many = [Problem(reference=reference, field=f"f{index}", reason="R", message="x" * 100) for index in range(1000)]
    told = statuses(found.cluster, compile_cluster(found.cluster), many)[reference]
    assert len(told.conditions[0].message) == LONGEST_MESSAGE


def test_only_what_has_a_status_gets_one() -> None:
    found = given(SERVICE + ROUTE)
    assert {reference.kind for reference in statuses(found.cluster, compile_cluster(found.cluster))} == {"ApiRoute"}


WORKLOAD = """
apiVersion: sidewinder.dev/v1alpha1
kind: ExternalWorkload
metadata: {name: web, namespace: shop, generation: 3, labels: {app: legacy}}
spec: {addresses: [192.0.2.7], ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: legacy, namespace: NAMESPACE}
spec: {selector: {app: legacy}, ports: [{port: 80}]}
"""


def test_a_workload_outside_says_which_services_lead_to_it() -> None:
    found = status(given(WORKLOAD.replace("NAMESPACE", "shop")), "ExternalWorkload")
    assert summary(found.conditions) == [GOOD[0], ("Selected", "True", "Selected")]
    assert found.conditions[1].message == "by legacy"
    assert found.observed_generation == 3
    found = status(given(WORKLOAD.replace("NAMESPACE", "elsewhere")), "ExternalWorkload")
    assert summary(found.conditions) == [GOOD[0], ("Selected", "False", "NoService")]


def test_a_workload_that_cannot_be_read_is_not_accepted() -> None:
    found = status(given(WORKLOAD.replace("192.0.2.7", "nowhere")), "ExternalWorkload")
    assert summary(found.conditions) == [("Accepted", "False", "Invalid")]
    assert "spec.addresses" in found.conditions[0].message
