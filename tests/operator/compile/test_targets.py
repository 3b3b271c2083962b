"""What a targetRef can point at."""

from __future__ import annotations

import pytest

from sidewinder_operator.compile import size_limits
from sidewinder_operator.compile.registry import ROWS
from sidewinder_operator.compile.sections import Fault, Scope
from sidewinder_operator.compile.targets import Targets, locate, refusal, survey
from sidewinder_operator.resources.policy import TargetRef
from tests.support.clusters import given

MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}, {name: alt, port: 81}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: route, namespace: shop}
spec:
  parentRefs: [{kind: Service, name: web}]
  rules: [{name: all, backendRefs: [{name: web, port: 80}]}]
"""


@pytest.fixture(scope="module")
def targets() -> Targets:
    return survey(given(MANIFESTS).cluster, "system")


@pytest.mark.parametrize(
    ("namespace", "ref", "scope"),
    [
        ("system", TargetRef(kind="Mesh"), Scope("Mesh")),
        ("shop", TargetRef(kind="Namespace"), Scope("Namespace", "shop")),
        ("shop", TargetRef(kind="Namespace", name="shop"), Scope("Namespace", "shop")),
        ("shop", TargetRef(kind="Service", name="web"), Scope("Service", "shop", "web")),
        ("shop", TargetRef(kind="Service", name="web", section_name="http"), Scope("Service", "shop", "web", "http")),
        ("shop", TargetRef(kind="ApiRoute", name="route"), Scope("ApiRoute", "shop", "route")),
        (
            "shop",
            TargetRef(kind="ApiRoute", name="route", section_name="all"),
            Scope("ApiRoute", "shop", "route", "all"),
        ),
    ],
)
def test_what_is_there_is_found(targets: Targets, namespace: str, ref: TargetRef, scope: Scope) -> None:
    assert locate(targets, namespace, ref) == scope
    standing = [row for row in ROWS if scope.kind in row.written.TARGETS and not row.written.SECURITY]
    assert all(refusal(targets, row, scope) is None for row in standing)


@pytest.mark.parametrize(
    ("namespace", "ref", "field"),
    [
        ("shop", TargetRef(kind="Mesh"), "kind"),
        ("shop", TargetRef(kind="Namespace", name="other"), "name"),
        ("other", TargetRef(kind="Service", name="web"), "name"),
        ("shop", TargetRef(kind="Service", name="route"), "name"),
        ("shop", TargetRef(kind="Service"), "name"),
        ("shop", TargetRef(kind="Service", name="web", section_name="grpc"), "sectionName"),
        ("shop", TargetRef(kind="ApiRoute", name="route", section_name="some"), "sectionName"),
    ],
)
def test_what_is_not_there_is_told(targets: Targets, namespace: str, ref: TargetRef, field: str) -> None:
    fault = locate(targets, namespace, ref)
    assert isinstance(fault, Fault)
    assert (fault.field, fault.reason) == (field, "TargetNotFound")


def test_on_a_route_what_acts_where_the_route_does_may_stand_whatever_it_does(targets: Targets) -> None:
    """Sizes are limited by the proxy that follows the route, so that nobody has to match a request a second time."""
    consumer = """
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: far, namespace: lab}
spec:
  parentRefs: [{kind: Service, name: web, namespace: shop}]
  rules: [{name: all, filters: [{type: URLRewrite, urlRewrite: {hostname: a.example}}],
           backendRefs: [{name: web, namespace: shop, port: 80}]}]
"""
    found = survey(given(MANIFESTS, consumer).cluster, "system")
    assert refusal(found, size_limits.ROW, Scope("ApiRoute", "lab", "far")) is None


NOBODY = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {%s}
"""


@pytest.mark.parametrize(
    "spec", ["ports: [{port: 80}]", "type: ExternalName, externalName: db.example.com, selector: {app: web}"]
)
def test_a_server_section_where_nobody_would_enforce_it_is_refused(spec: str) -> None:
    """It would look as if something were protected."""
    found = survey(given(NOBODY % spec).cluster, "system")
    scope = Scope("Service", "shop", "web")
    for row in ROWS:
        fault = refusal(found, row, scope)
        assert (fault is None) == row.client, row.name
        if fault is not None:
            assert (fault.field, fault.reason) == ("name", "Invalid")
            assert f"nobody enforces {row.name}" in fault.message
