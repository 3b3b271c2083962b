"""One workload's part of the mesh: what it sees, where it comes from, and that equal things are made once."""

from __future__ import annotations

import pytest
from msgspec import structs

from sidewinder_operator.compile.compiler import Compiled, Running, compile_cluster
from sidewinder_operator.compile.project import Projector, awaiting, project
from sidewinder_operator.mesh import Mesh
from sidewinder_operator.mesh.workloads import PodReplica
from sidewinder_operator.problems import Reference
from sidewinder_sidecar.snapshot import decode, version
from sidewinder_sidecar.snapshot.checks import CheckSpec, ChecksSpec, key
from sidewinder_sidecar.snapshot.filters import Mirror
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
  rules:
  - name: all
    filters: [{type: RequestMirror, requestMirror: {backendRef: {name: copies, namespace: far, port: 80}}}]
    backendRefs: [{name: stub, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: copies, namespace: far}
spec: {ports: [{port: 80}]}
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
        found.append(("backend", [f.backend for rule in spec.rules for f in rule.filters if isinstance(f, Mirror)]))
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
        "backend/far/copies:80@lab/mine",
        "backend/lab/stub:80@lab/mine",
        "route/lab/mine",
        "service/shop/web:80",
    )
    assert awaiting(projector.resources(WEB), Reference("ApiPolicy", "shop", "even")) == ("backend/shop/web:80",)


CHECKED = """
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: well, namespace: shop, uid: w, generation: 5}
spec: {targetRefs: [{kind: Service, name: web}], healthCheck: {type: TCP}}
"""


def test_a_prober_has_its_checks_and_their_policy_waits_for_it() -> None:
    projector = Projector(compiled(f"{MANIFESTS}---{CHECKED}").mesh)
    found = projector.resources(WEB)["checks/self"]
    assert found.of is None, "it stands and falls with no object alone"
    assert awaiting(projector.resources(WEB), Reference("ApiPolicy", "shop", "well")) == (
        "backend/shop/web:80",
        "checks/self",
    )


def test_verdicts_change_endpoints_and_nobodys_checks() -> None:
    cluster = given(f"{MANIFESTS}---{CHECKED}").cluster
    runs = running(cluster)
    before = Projector(compile_cluster(cluster, running=runs).mesh)
    had = {identity: before.layers(identity) for identity in before.identities()}
    (check,) = project_checks(before, WEB)
    said = {key(check.name, each.uid, each.address, each.port): False for each in check.endpoints}
    after = Projector(compile_cluster(cluster, running=structs.replace(runs, verdicts={WEB: said})).mesh, before)
    own, seen = after.layers(WEB)
    assert own is had[WEB][0]
    assert seen.resources["endpoints/shop/web:80"] != had[WEB][1].resources["endpoints/shop/web:80"]
    assert seen.resources["endpoints/shop/web:80"].ready == had[WEB][1].resources["endpoints/shop/web:80"].ready


def project_checks(projector: Projector, identity: str) -> tuple[CheckSpec, ...]:
    found = projector.snapshot(identity)["checks/self"]
    assert isinstance(found, ChecksSpec)
    return found.checks


# ── pods: their own namespace first, and what they want ───────────────────────────────────────────────────────────

PODS = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, uid: s1}
spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: other, uid: s2}
spec: {clusterIP: 10.96.0.2, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: behind, namespace: third, uid: s3}
spec: {clusterIP: 10.96.0.3, ports: [{port: 80}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: far, namespace: other, uid: r, generation: %d}
spec:
  parentRefs: [{kind: Service, name: far}]
  rules: [{name: all, backendRefs: [{name: behind, namespace: third, port: 80}]}]
"""
NAMES = {f"{kind}/inbound-80" for kind in ("service", "backend", "endpoints")} | {
    "proxy/self", "listener/inbound", "listener/outbound", "service/shop/web:80", "backend/shop/web:80",
    "endpoints/shop/web:80",
}  # fmt: skip


def pods(generation: int = 1, more: str = "", *names: str) -> Mesh:
    cluster = given(PODS % generation + more).cluster
    found = tuple(
        PodReplica(namespace="shop", name=name, uid=name, addresses=("10.0.0.1",), labels={"app": "web"})
        for name in names or ("one", "two")
    )
    return compile_cluster(cluster, running=Running(pods=found)).mesh


def test_a_pod_gets_its_own_namespace() -> None:
    assert set(project(pods(), "one")) == NAMES


def test_what_a_pod_wants_comes_with_all_that_it_reaches() -> None:
    projector = Projector(pods())
    wanted = projector.find("one", "10.96.0.2:80")
    assert wanted == ("other/far:80",)
    assert set(projector.snapshot("one", wanted)) - NAMES == {
        "service/other/far:80", "backend/other/far:80", "endpoints/other/far:80", "route/other/far",
        "backend/third/behind:80", "endpoints/third/behind:80",
    }  # fmt: skip
    assert set(projector.snapshot("two")) == NAMES
    assert projector.layers("one", ("other/gone:80", "shop/web:80")) == projector.layers("one")


def test_a_service_for_which_the_namespace_has_written_routes_is_at_home() -> None:
    mine = """---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: mine, namespace: shop}
spec:
  parentRefs: [{kind: Service, name: behind, namespace: third}]
  rules: [{name: all, backendRefs: [{name: web, port: 80}]}]
"""
    assert set(project(pods(1, mine), "one")) - NAMES == {
        "service/third/behind:80", "backend/third/behind:80", "endpoints/third/behind:80", "route/shop/mine",
    }  # fmt: skip


def test_workloads_share_layers_and_a_new_mesh_takes_over_what_has_not_changed() -> None:
    before = Projector(pods())
    wants = before.find("one", "far.other")
    one, two = before.layers("one", wants), before.layers("two", wants)
    assert (one[0] is two[0], one[1] is two[1], one[2] is two[2]) == (False, True, True)
    after = Projector(pods(), before)
    assert after.layers("one", wants) == one
    assert after.layers("two", wants) == two


def test_only_layers_with_something_new_are_new() -> None:
    before = Projector(pods())
    old = before.layers("one", ("other/far:80",))
    after = Projector(pods(2), before)
    new = after.layers("one", ("other/far:80",))
    assert [mine is theirs for mine, theirs in zip(old, new, strict=True)] == [True, True, False]
    names = [name for name, each in new[2].resources.items() if each is not old[2].resources[name]]
    assert names == ["route/other/far"]


def test_what_was_not_taken_over_is_forgotten() -> None:
    before = Projector(pods())
    home = before.layers("one")[1]
    after = Projector(pods(), before)
    after.settle()
    assert after.layers("one")[1] is not home


def test_endpoints_say_who_is_ready() -> None:
    sliced = """---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: "", port: 80}]
endpoints: [{addresses: [10.0.0.1], targetRef: {uid: one}}, {addresses: [10.0.0.2], conditions: {ready: false}}]
"""
    resources = Projector(pods(1, sliced)).resources("one")
    assert resources["endpoints/shop/web:80"].ready == {"one"}
    assert resources["service/shop/web:80"].ready == frozenset()


def test_nobody_reaches_the_outside_through_a_way_in() -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: out, namespace: shop}\n"
    cluster = given(text + "spec: {type: ExternalName, externalName: example.test, ports: [{port: 80}]}").cluster
    mesh = compile_cluster(cluster, running=running(cluster)).mesh
    assert not any("out" in name for name in project(mesh, WAY_IN))
