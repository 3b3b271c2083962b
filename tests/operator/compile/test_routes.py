"""Routes as meant: parents, producers and consumers, backends, variants, times."""

from __future__ import annotations

import pytest

from sidewinder_operator.compile.compiler import Compiled, compile_cluster
from sidewinder_operator.mesh.routes import MeshRule
from sidewinder_sidecar.snapshot.filters import Mirror
from sidewinder_sidecar.snapshot.routes import CookieStickiness, HeaderStickiness, RetrySpec, Stickiness
from tests.support.clusters import given

SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{name: http, port: 80}, {name: alt, port: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: other}
spec: {ports: [{port: 80}]}
"""


def route(rule: str = "", parents: str = "{kind: Service, name: web}", name: str = "r", namespace: str = "shop") -> str:
    return f"""---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  parentRefs: [{parents}]
  rules: [{{name: all, {rule or "backendRefs: [{name: web, port: 80}]"}}}]
"""


def compiled(*texts: str) -> Compiled:
    found = given(SERVICES, *texts)
    assert not found.problems
    return compile_cluster(found.cluster)


def rule(text: str) -> MeshRule:
    return compiled(route(text)).mesh.routes["shop/r"].rules[0]


def placed(result: Compiled) -> dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]]:
    ports = (port for service in result.mesh.services.values() for port in service.ports)
    return {port.name: (port.producers, port.consumers) for port in ports if port.producers or port.consumers}


@pytest.mark.parametrize(
    ("parents", "ports"),
    [
        ("{kind: Service, name: web}", {"shop/web:80", "shop/web:81"}),
        ("{kind: Service, name: web, port: 81}", {"shop/web:81"}),
        ("{kind: Service, name: web, sectionName: http}", {"shop/web:80"}),
        ("{kind: Service, name: web, sectionName: http, port: 80}", {"shop/web:80"}),
        ("{kind: Service, name: web, port: 80}, {kind: Service, name: web, port: 81}", {"shop/web:80", "shop/web:81"}),
    ],
)
def test_a_parent_captures_all_ports_or_the_one_it_names(parents: str, ports: set[str]) -> None:
    assert placed(compiled(route(parents=parents))) == {port: (("shop/r",), {}) for port in ports}


@pytest.mark.parametrize(
    ("parents", "field"),
    [
        ("{kind: Service, name: nowhere}", "spec.parentRefs[0].name"),
        ("{kind: Service, name: web, port: 82}", "spec.parentRefs[0].port"),
        ("{kind: Service, name: web, sectionName: grpc}", "spec.parentRefs[0].sectionName"),
        ("{kind: Service, name: web, sectionName: http, port: 81}", "spec.parentRefs[0].port"),
        ("{kind: Service, name: web, namespace: other}", "spec.parentRefs[0].name"),
    ],
)
def test_a_parent_that_is_not_there_is_told(parents: str, field: str) -> None:
    result = compiled(route(parents=parents))
    assert [(problem.field, problem.reason) for problem in result.problems] == [(field, "NoMatchingParent")]
    assert result.mesh.routes == {}


def test_a_route_of_another_namespace_is_a_consumers() -> None:
    parents = "{kind: Service, name: web, namespace: shop, port: 80}"
    result = compiled(route(), route("backendRefs: [{name: far, port: 80}]", parents, "mine", "other"))
    assert placed(result)["shop/web:80"] == (("shop/r",), {"other": ("other/mine",)})
    assert placed(result)["shop/web:81"] == (("shop/r",), {})


def test_a_backend_of_another_namespace_is_free() -> None:
    made = rule("backendRefs: [{name: far, namespace: other, port: 80}]")
    assert [destination.backend for destination in made.destinations] == ["other/far:80"]


@pytest.mark.parametrize(
    ("ref", "field", "why"),
    [
        ("{name: far, port: 80, weight: 3}", "name", "there is no Service shop/far"),
        (
            "{name: web, port: 82, weight: 3}",
            "port",
            "Service shop/web has no port 82, only the ports 80 (http), 81 (alt)",
        ),
    ],
)
def test_a_backend_that_is_not_there_costs_its_share_alone(ref: str, field: str, why: str) -> None:
    result = compiled(route(f"backendRefs: [{ref}, {{name: web, port: 80}}]"))
    lost, kept = result.mesh.routes["shop/r"].rules[0].destinations
    assert (lost.backend, lost.invalid, lost.weight) == ("", why, 3)
    assert kept.backend == "shop/web:80"
    (problem,) = result.problems
    assert (problem.field, problem.reason) == (f"spec.rules[0].backendRefs[0].{field}", "BackendNotFound")


MIRROR = "{{type: RequestMirror, requestMirror: {{backendRef: {0}, percent: 5}}}}"


@pytest.mark.parametrize("place", ["rule", "backend"])
def test_a_mirror_goes_to_a_backend_of_the_mesh(place: str) -> None:
    mirror = MIRROR.format("{name: far, namespace: other, port: 80}")
    behind = f", filters: [{mirror}]" if place == "backend" else ""
    on_rule = f"filters: [{mirror}], " if place == "rule" else ""
    result = compiled(route(f"{on_rule}backendRefs: [{{name: web, port: 80{behind}}}]"))
    assert result.problems == ()
    made = result.mesh.routes["shop/r"]
    expected = (Mirror(backend="other/far:80", numerator=5, denominator=100),)
    assert (made.rules[0].filters if place == "rule" else made.rules[0].destinations[0].filters) == expected
    assert made.backends() == ("other/far:80", "shop/web:80")


@pytest.mark.parametrize(
    ("ref", "field", "why"),
    [
        ("{name: nowhere, port: 80}", "name", "there is no Service shop/nowhere: nothing is mirrored"),
        ("{name: far, namespace: other, port: 81}", "port", "Service other/far has no port 81, only the ports 80"),
    ],
)
def test_a_mirror_without_its_backend_costs_itself_alone(ref: str, field: str, why: str) -> None:
    result = compiled(route(f"filters: [{MIRROR.format(ref)}], backendRefs: [{{name: web, port: 80}}]"))
    made = result.mesh.routes["shop/r"].rules[0]
    assert (made.filters, made.destinations[0].backend) == ((), "shop/web:80")
    (problem,) = result.problems
    where = f"spec.rules[0].filters[0].requestMirror.backendRef.{field}"
    assert (problem.field, problem.reason, problem.severity) == (where, "BackendNotFound", "Error")
    assert problem.message.startswith(why)


def test_a_rule_that_can_only_fail_is_told() -> None:
    (problem,) = compiled(route("matches: [{path: {value: /x}}]")).problems
    assert (problem.reason, problem.severity) == ("NoBackends", "Warning")


def test_a_rule_that_answers_itself_needs_no_backend() -> None:
    assert compiled(route("filters: [{type: DirectResponse, directResponse: {body: ok}}]")).problems == ()


@pytest.mark.parametrize(
    ("written", "limits"),
    [
        ("{}", (None, None)),
        ("{request: 2s}", (2.0, None)),
        ("{request: 1500ms, backendRequest: 500ms}", (1.5, 0.5)),
        ("{request: 0s}", (None, None)),
    ],
)
def test_a_limit_of_zero_is_none(written: str, limits: tuple[float | None, float | None]) -> None:
    made = rule(f"timeouts: {written}, backendRefs: [{{name: web, port: 80}}]")
    assert (made.request_timeout, made.backend_timeout) == limits


def test_retries_mean_what_is_sent() -> None:
    made = rule(
        "retry: {attempts: 3, codes: [503], backoff: 10ms, maxBackoff: 1s}, backendRefs: [{name: web, port: 80}]"
    )
    assert made.retry == RetrySpec(attempts=3, codes=(503,), backoff=0.01, max_backoff=1.0)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("{type: Cookie, cookie: {name: c, lifetime: 1h}}", CookieStickiness("c", 3600.0)),
        ("{type: Cookie, cookie: {name: c}}", CookieStickiness("c")),
        ("{type: Header, header: {name: X-User}}", HeaderStickiness("x-user")),
    ],
)
def test_stickiness(written: str, meant: Stickiness) -> None:
    assert rule(f"stickiness: {written}, backendRefs: [{{name: web, port: 80}}]").stickiness == meant


def policy(target: str, name: str) -> str:
    return f"""---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {{name: {name}, namespace: shop}}
spec: {{targetRefs: [{target}], loadBalancing: {{type: RoundRobin}}}}
"""


@pytest.mark.parametrize(
    ("targets", "backend"),
    [
        ((), "shop/web:80"),
        (("{kind: Service, name: web}",), "shop/web:80"),
        (("{kind: ApiRoute, name: r}",), "shop/web:80@shop/r"),
        (("{kind: ApiRoute, name: r, sectionName: all}",), "shop/web:80@shop/r/all"),
        (("{kind: ApiRoute, name: r}", "{kind: ApiRoute, name: r, sectionName: all}"), "shop/web:80@shop/r/all"),
    ],
    ids=["none", "on the service", "on the route", "on the rule", "on both"],
)
def test_client_sections_of_a_route_make_variants_of_its_backends(targets: tuple[str, ...], backend: str) -> None:
    result = compiled(route(), *(policy(target, f"p{index}") for index, target in enumerate(targets)))
    (destination,) = result.mesh.routes["shop/r"].rules[0].destinations
    assert destination.backend == backend
    assert result.mesh.backends[backend].endpoints == "shop/web:80"
    assert (result.mesh.backends[backend].load_balancing is not None) == bool(targets)
