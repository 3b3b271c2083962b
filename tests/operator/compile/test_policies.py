"""policies: which server sections hold on which port, by whatever way somebody comes there."""

from __future__ import annotations

import itertools

import pytest

from sidewinder_operator.compile.compiler import Compiled, Running, compile_cluster
from sidewinder_operator.mesh.policies import MeshPolicy
from sidewinder_operator.mesh.workloads import MeshWorkload, PodReplica, WorkloadPort
from sidewinder_operator.problems import Reference
from tests.support.clusters import given

HTTP = WorkloadPort(port=9080, name="http", dialled=9080, application=9080)
ADMIN = WorkloadPort(port=9090, name="admin", dialled=9090, application=9090)
POD = PodReplica(
    namespace="shop", name="web-1", uid="pod", addresses=("10.0.0.1",), ports=(HTTP, ADMIN), labels={"app": "web"}
)
SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: back, namespace: shop}
spec:
  selector: {app: web}
  ports: [{name: back, port: 81, targetPort: 9080}, {name: admin, port: 82, targetPort: 9090}]
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: lab}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""
DENY, ALLOW = "authorization: {defaultAction: Deny}", "authorization: {defaultAction: Allow}"
AUTH = "authentication: {providers: [{name: k, type: APIKey, apiKey: {secretRef: {name: %s}}}]}"
MESH, SHOP, LAB = "kind: Mesh", "kind: Namespace", "kind: Namespace"
WEB, BACK = "kind: Service, name: web", "kind: Service, name: back"
HTTP_OF_WEB, ADMIN_OF_BACK = WEB + ", sectionName: http", BACK + ", sectionName: admin"
_ages = itertools.count()


def policy(name: str, target: str, sections: str, namespace: str = "shop") -> str:
    age = f"2026-01-01T00:{next(_ages) % 60:02}:00Z"
    return f"""
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: "{age}"}}
spec: {{targetRefs: [{{{target}}}], {sections}}}
"""


def compiled(*policies: str, pods: tuple[PodReplica, ...] = (POD,)) -> Compiled:
    found = given(SERVICES, *policies)
    assert found.problems == []
    return compile_cluster(found.cluster, running=Running(pods=pods))


def pod(of: Compiled) -> MeshWorkload:
    return of.mesh.workloads["pod"]


def held(of: Compiled, port: int = 9080) -> MeshPolicy | None:
    """What holds on a port of the pod; 0 is one that nobody declared."""
    workload = pod(of)
    names = {own.port: own.policy for own in workload.ports} | {0: workload.policy}
    return of.mesh.policies[names[port]] if names[port] else None


def owners(of: Compiled, port: int = 9080) -> list[str]:
    """Whose authorization holds there, in order."""
    found = held(of, port)
    return [each.policy for each in found.authorization] if found is not None else []


def test_a_mesh_without_policies_has_none() -> None:
    of = compiled()
    assert of.mesh.policies == {}
    assert pod(of).policy == ""
    assert {port.policy for port in pod(of).ports} == {""}


def test_client_sections_are_nothing_to_the_server() -> None:
    of = compiled(policy("p", SHOP, "loadBalancing: {type: RoundRobin}"))
    assert of.mesh.policies == {}


LEVELS = {
    "mesh": (policy("p", MESH, DENY, "sidewinder-system"), [9080, 9090, 0], "Mesh"),
    "namespace": (policy("p", SHOP, DENY), [9080, 9090, 0], "shop"),
    "another namespace": (policy("p", LAB, DENY, "lab"), [], ""),
    "Service": (policy("p", WEB, DENY), [9080, 9090, 0], "shop/web"),
    "port": (policy("p", HTTP_OF_WEB, DENY), [9080], "shop/web:http"),
    "port by number": (policy("p", ADMIN_OF_BACK, DENY), [9090], "shop/back:admin"),
}


@pytest.mark.parametrize(("written", "ports", "name"), LEVELS.values(), ids=LEVELS)
def test_where_a_section_holds(written: str, ports: list[int], name: str) -> None:
    """On a Service it holds for the pods: on a port that this Service does not lead to as well."""
    of = compiled(written)
    assert [port for port in (9080, 9090, 0) if held(of, port) is not None] == ports
    assert set(of.mesh.policies) == ({name} if name else set())


def test_a_workload_without_a_sidecar_enforces_nothing() -> None:
    external = """
apiVersion: sidewinder.dev/v1alpha1
kind: ExternalWorkload
metadata: {name: old, namespace: shop, labels: {app: web}}
spec: {addresses: [192.0.2.1], ports: [{name: http, port: 9080}]}
"""
    of = compiled(policy("p", SHOP, DENY), external, pods=())
    assert of.mesh.policies == {}


def test_all_levels_add_up_from_the_least_specific_one() -> None:
    of = compiled(
        policy("port", HTTP_OF_WEB, DENY),
        policy("service", BACK, DENY),
        policy("namespace", SHOP, DENY),
        policy("mesh", MESH, DENY, "sidewinder-system"),
    )
    assert owners(of) == ["sidewinder-system/mesh", "shop/namespace", "shop/service", "shop/port"]
    assert owners(of, 9090) == ["sidewinder-system/mesh", "shop/namespace", "shop/service"]
    assert list(of.mesh.policies) == ["Mesh+shop+shop/back", "Mesh+shop+shop/back+shop/web:http"]


@pytest.mark.parametrize("first", [DENY, ALLOW], ids=["deny first", "allow first"])
def test_of_two_services_who_denies_by_default_wins(first: str) -> None:
    second = ALLOW if first == DENY else DENY
    of = compiled(policy("one", WEB, first), policy("two", BACK, second))
    found = held(of)
    assert found is not None
    assert [each.section.default_action for each in found.authorization] == ["Allow", "Deny"]


def test_a_policy_on_two_services_of_a_pod_counts_once() -> None:
    twice = policy("p", WEB, DENY).replace("targetRefs: [", "targetRefs: [{kind: Service, name: back}, ")
    assert owners(compiled(twice)) == ["shop/p"]


SECRETS = """
apiVersion: v1
kind: Secret
metadata: {name: one, namespace: shop}
---
apiVersion: v1
kind: Secret
metadata: {name: two, namespace: shop}
"""


def test_of_replaced_sections_the_most_specific_holds_for_each_service() -> None:
    of = compiled(
        SECRETS,
        policy("namespace", SHOP, AUTH % "one"),
        policy("web", WEB, AUTH % "one"),
        policy("port", HTTP_OF_WEB, AUTH % "two"),
        policy("back", BACK, AUTH % "two"),
    )
    found, admin = held(of), held(of, 9090)
    assert found is not None
    assert admin is not None
    assert [each.policy for each in found.authentication] == ["shop/back", "shop/port"], "a pod in several gets all"
    assert [each.policy for each in admin.authentication] == ["shop/back", "shop/web"]


def test_a_service_that_says_nothing_does_not_bring_the_namespace_back() -> None:
    of = compiled(SECRETS, policy("namespace", SHOP, AUTH % "one"), policy("web", WEB, AUTH % "two"))
    found = held(of)
    assert found is not None
    assert [each.policy for each in found.authentication] == ["shop/web"]


def test_an_adaptive_limit_knows_by_which_target_of_its_policy_it_holds() -> None:
    written = "adaptiveConcurrency: {targetLatency: 100ms}"
    of = compiled(policy("slow", f"{WEB}}}, {{{ADMIN_OF_BACK}", written))
    for port, target in ((9080, "Service shop/web"), (9090, "Service shop/back (admin)")):
        found = held(of, port)
        assert found is not None
        assert [(each.policy, each.section.target) for each in found.adaptive_concurrency] == [("shop/slow", target)]
    above = held(compiled(policy("all", SHOP, written)))
    assert above is not None
    assert [each.section.target for each in above.adaptive_concurrency] == ["Namespace shop"]


def test_mtls_of_two_services_is_the_stricter_and_never_below_the_mesh() -> None:
    of = compiled(policy("one", WEB, "mtls: {mode: Strict}"), policy("two", BACK, "mtls: {mode: Permissive}"))
    found = held(of)
    assert found is not None
    assert found.mtls is not None
    assert (found.mtls.mode, found.mtls.policy) == ("Strict", "shop/one")
    weaker = compiled(
        policy("mesh", MESH, "mtls: {mode: Strict}", "sidewinder-system"),
        policy("one", WEB, "mtls: {mode: Permissive, exceptPorts: [9090]}"),
    )
    found = held(weaker)
    assert found is not None
    assert found.mtls is not None
    assert (found.mtls.mode, found.mtls.except_ports) == ("Strict", (9090,))
    assert [(each.reference.name, each.severity) for each in weaker.problems] == [("one", "Warning")]


def test_of_two_services_cors_is_the_older_policy_s() -> None:
    older = policy("z", WEB, "cors: {allowOrigins: ['https://a.example:443']}").replace("2026", "2025")
    of = compiled(policy("a", BACK, "cors: {allowOrigins: ['https://b.example']}"), older)
    found = held(of)
    assert found is not None
    assert found.cors is not None
    assert (found.cors.policy, found.cors.section.allow_origins) == ("shop/z", ("https://a.example",))


CLOSING = {
    "authorization": "authorization: {rules: [{name: r, action: Allow, from: [{cidrsFrom: "
    "[{configMapRef: {name: gone}, key: k}]}]}]}",
    "authentication": AUTH % "gone",
}


@pytest.mark.parametrize(("section", "written"), CLOSING.items(), ids=CLOSING)
def test_a_broken_security_section_closes_every_port_of_its_scope(section: str, written: str) -> None:
    of = compiled(policy("broken", WEB, written), policy("good", BACK, DENY))
    for port in (9080, 9090, 0):
        found = held(of, port)
        assert found is not None
        assert found.closed == (f"shop/broken/{section}",)
    assert any(problem.section == section and problem.severity == "Error" for problem in of.problems)


def test_a_closed_scope_reopens_for_who_replaces_the_section_below_it() -> None:
    of = compiled(SECRETS, policy("broken", SHOP, AUTH % "gone"), policy("web", WEB, AUTH % "one"))
    found = held(of)
    assert found is not None
    assert found.closed == ()


def test_proxies_with_the_same_scopes_share_one_policy_and_the_name_is_the_scopes() -> None:
    more = tuple(
        PodReplica(
            namespace="shop", name=f"web-{n}", uid=f"pod-{n}", addresses=(f"10.0.1.{n}",), ports=(HTTP,),
            labels={"app": "web"},
        )
        for n in range(50)
    )  # fmt: skip
    of = compiled(policy("p", SHOP, DENY), policy("q", WEB, DENY), pods=(POD, *more))
    assert list(of.mesh.policies) == ["shop+shop/web"]


def test_the_order_of_what_was_written_does_not_show() -> None:
    written = [
        policy("a", WEB, DENY), policy("b", BACK, ALLOW), policy("c", SHOP, DENY), policy("d", HTTP_OF_WEB, ALLOW),
        policy("e", MESH, DENY, "sidewinder-system"),
    ]  # fmt: skip
    first = compiled(*written).mesh.policies
    assert all(compiled(*order).mesh.policies == first for order in itertools.permutations(written))


def test_everybody_whose_section_holds_is_an_origin() -> None:
    of = compiled(policy("a", WEB, DENY), policy("b", SHOP, "mtls: {mode: Strict}"))
    found = held(of)
    assert found is not None
    assert {origin.reference for origin in found.origins} == {
        Reference("ApiPolicy", "shop", "a"),
        Reference("ApiPolicy", "shop", "b"),
    }


LISTED = "authorization: {rules: [{name: r, action: Deny, from: [{cidrsFrom: [{configMapRef: {name: l}, key: k}]}]}]}"
LIST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: l, namespace: shop}
data: {k: "%s"}
"""


@pytest.mark.parametrize("broken", [LIST % "192.0.2.0/24, nonsense", ""], ids=["a bad line", "gone"])
def test_a_list_that_breaks_is_as_it_last_was(broken: str) -> None:
    """In the process that has seen it; one that starts now knows of nothing good, and closes."""
    guarded = policy("p", WEB, LISTED)
    good = compiled(LIST % "192.0.2.0/24", guarded)
    found = given(SERVICES, broken, guarded)
    later = compile_cluster(found.cluster, good.last_good, running=Running(pods=(POD,)), kept=good.kept)
    was, is_ = held(good), held(later)
    assert was is not None
    assert is_ is not None
    assert is_.closed == ()
    assert [each.section.lists for each in is_.authorization] == [each.section.lists for each in was.authorization]
    assert any(problem.section == "authorization" and problem.severity == "Error" for problem in later.problems)
    again = compile_cluster(found.cluster, later.last_good, running=Running(pods=(POD,)), kept=later.kept)
    assert again.mesh == later.mesh, "for as long as it is broken"
    restarted = held(compile_cluster(found.cluster, good.last_good, running=Running(pods=(POD,))))
    assert restarted is not None
    assert restarted.closed == ("shop/p/authorization",)


def test_a_secret_that_is_gone_revokes_what_it_held() -> None:
    guarded = policy("p", WEB, AUTH % "one")
    good = compiled(SECRETS, guarded)
    found = given(SERVICES, guarded)
    later = held(compile_cluster(found.cluster, good.last_good, running=Running(pods=(POD,)), kept=good.kept))
    assert later is not None
    assert later.closed == ("shop/p/authentication",)
