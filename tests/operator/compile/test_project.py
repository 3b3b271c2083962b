"""One workload's part of the mesh: what it sees, where it comes from, and that equal things are made once."""

from __future__ import annotations

import pytest

from sidewinder_operator.compile.compiler import Compiled, compile_cluster
from sidewinder_operator.compile.project import Projector, awaiting, project
from sidewinder_operator.problems import Reference
from sidewinder_sidecar.snapshot import decode, version
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.routes import RouteSpec
from sidewinder_sidecar.snapshot.services import ServiceSpec
from tests.support.clusters import given, running

MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, uid: s, generation: 2}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: stub, namespace: lab}
spec: {ports: [{port: 80}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: web, namespace: shop, uid: r, generation: 3}
spec: {parentRefs: [{kind: Service, name: web}], rules: [{name: all, backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: mine, namespace: lab}
spec:
  parentRefs: [{kind: Service, name: web, namespace: shop}]
  rules: [{name: all, backendRefs: [{name: stub, port: 80}]}]
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: even, namespace: shop, uid: p, generation: 4}
spec: {targetRefs: [{kind: Service, name: web}], loadBalancing: {type: RoundRobin}}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: mine, namespace: lab}
spec: {targetRefs: [{kind: ApiRoute, name: mine}], retryConstraint: {budget: {percent: 1}}}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {command: [web], replicas: 2}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: tester, namespace: lab}
spec: {command: [tester]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ExternalWorkload
metadata: {name: old, namespace: shop, labels: {app: web}}
spec: {addresses: [192.0.2.1], ports: [{name: main, port: 80}]}
"""
WEB, TESTER, WAY_IN = "LocalProcess/shop/web/0", "LocalProcess/lab/tester/0", "Gateway/way-in"
ROUTE = Reference("ApiRoute", "shop", "web")


def compiled(text: str = MANIFESTS) -> Compiled:
    cluster = given(text).cluster
    return compile_cluster(cluster, running=running(cluster))


MESH = compiled().mesh


def test_everything_with_a_proxy_of_ours_has_an_identity() -> None:
    assert set(Projector(MESH).identities()) == {WEB, "LocalProcess/shop/web/1", TESTER, WAY_IN}


def test_a_stranger_has_no_snapshot() -> None:
    with pytest.raises(KeyError):
        project(MESH, "LocalProcess/shop/nobody/0")


@pytest.mark.parametrize(("identity", "routes"), [(WEB, {"shop/web"}), (TESTER, {"lab/mine"}), (WAY_IN, {"shop/web"})])
def test_a_proxy_gets_the_routes_that_its_namespace_may_see(identity: str, routes: set[str]) -> None:
    snapshot = project(MESH, identity)
    assert {spec.name for spec in snapshot.values() if isinstance(spec, RouteSpec)} == routes
    service = snapshot["service/shop/web:80"]
    assert isinstance(service, ServiceSpec)
    assert set(service.routes) == routes


def test_a_variant_goes_only_where_its_route_goes() -> None:
    name = "backend/lab/stub:80@lab/mine"
    assert name in project(MESH, TESTER)
    assert name not in project(MESH, WEB)


@pytest.mark.parametrize("identity", Projector(MESH).identities())
def test_every_reference_between_resources_is_met(identity: str) -> None:
    snapshot = project(MESH, identity)
    for spec in snapshot.values():
        for kind, names in _references(spec):
            for name in names:
                assert f"{kind}/{name}" in snapshot


def _references(spec: object) -> list[tuple[str, list[str]]]:
    fields = {"default_service": "service", "backend": "backend", "endpoints": "endpoints"}
    found = [
        (kind, [value])
        for field, kind in fields.items()
        if isinstance(value := getattr(spec, field, None), str) and value
    ]
    if isinstance(spec, ServiceSpec):
        found.append(("route", list(spec.routes)))
    if isinstance(spec, RouteSpec):
        found.append(("backend", [b.backend for rule in spec.rules for b in rule.backends if b.backend]))
    return found


def test_listeners_carry_their_direction() -> None:
    directions = {
        identity: sorted(s.direction for s in project(MESH, identity).values() if isinstance(s, ListenerSpec))
        for identity in (WEB, WAY_IN)
    }
    assert directions == {WEB: ["Inbound", "Outbound"], WAY_IN: ["Gateway"]}


def test_what_is_encoded_is_the_snapshot() -> None:
    projector = Projector(MESH)
    encoded = projector.resources(WEB)
    assert {name: decode(name, each.raw) for name, each in encoded.items()} == projector.snapshot(WEB)
    assert all(each.version == version(each.raw) and each.name == name for name, each in encoded.items())


def test_equal_resources_are_made_and_encoded_once() -> None:
    projector = Projector(MESH)
    first, second, other = (projector.resources(each) for each in (WEB, "LocalProcess/shop/web/1", TESTER))
    shared = [name for name in first if name.startswith(("service/shop", "route/", "backend/shop", "endpoints/shop"))]
    assert shared
    assert all(first[name] is second[name] for name in shared)
    assert first["backend/shop/web:80"] is other["backend/shop/web:80"]
    assert first["endpoints/shop/web:80"] is other["endpoints/shop/web:80"]


def test_what_is_asked_again_is_not_encoded_again() -> None:
    projector = Projector(MESH)
    first = projector.resources(WAY_IN)
    projector.resources(WEB)
    again = projector.resources(WAY_IN)
    assert all(first[name] is again[name] for name in first if name.startswith("endpoints/"))


def test_another_mesh_of_the_same_cluster_gives_the_same_bytes() -> None:
    one, other = Projector(MESH).resources(WEB), Projector(compiled().mesh).resources(WEB)
    assert {name: each.raw for name, each in one.items()} == {name: each.raw for name, each in other.items()}


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("route/shop/web", ("r", 3)),
        ("service/shop/web:80", ("s", 2)),
        ("endpoints/shop/web:80", ("s", 2)),
        ("backend/shop/web:80", ("p", 4)),
        ("endpoints/lab/stub:80", None),
    ],
)
def test_a_resource_says_of_which_object_it_is(name: str, of: tuple[str, int] | None) -> None:
    assert Projector(MESH).resources(WEB)[name].of == of


def test_a_route_waits_for_all_that_it_has_shaped() -> None:
    projector = Projector(MESH)
    assert awaiting(projector.resources(WEB), ROUTE) == ("route/shop/web", "service/shop/web:80")
    assert awaiting(projector.resources(TESTER), ROUTE) == ()
    assert awaiting(projector.resources(TESTER), Reference("ApiRoute", "lab", "mine")) == (
        "backend/lab/stub:80@lab/mine",
        "route/lab/mine",
        "service/shop/web:80",
    )
    assert awaiting(projector.resources(WEB), Reference("ApiPolicy", "shop", "even")) == ("backend/shop/web:80",)
