"""How a broken object's last good version serves on, also over a restart."""

from __future__ import annotations

from hypothesis import given as for_any
from hypothesis import strategies as st

from sidewinder_operator.compile.compiler import compile_cluster
from sidewinder_operator.compile.last_good import KEPT, dump, heal, load, remember
from sidewinder_operator.problems import Reference
from sidewinder_operator.resources import Cluster, gather
from tests.support.clusters import given

GOOD = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{name: http, port: 80, targetPort: main}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: web, namespace: shop, uid: u, generation: 1, labels: {a: b}}
spec:
  parentRefs: [{kind: Service, name: web}]
  rules:
  - name: all
    matches: [{headers: [{name: a, value: "1"}]}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}}}]
    backendRefs: [{name: web, port: 80}]
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: web, namespace: shop}
spec: {targetRefs: [{kind: Service, name: web}], retryConstraint: {budget: {percent: 3}}}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: web, namespace: shop}
spec: {command: [web]}
---
apiVersion: v1
kind: Secret
metadata: {name: key, namespace: shop}
stringData: {key: hush}
"""
ROUTE = Reference("ApiRoute", "shop", "web")
KNOWN = compile_cluster(given(GOOD).cluster).last_good


def test_what_is_good_is_remembered_but_secrets() -> None:
    assert {reference.kind for reference in KNOWN} == {"Service", "ApiRoute", "ApiPolicy", "LocalProcess"}
    assert "Secret" not in KEPT
    assert "ConfigMap" not in KEPT


def test_a_broken_object_is_replaced_by_its_last_good_version() -> None:
    healed, stale = heal(gather([], [ROUTE, Reference("ApiRoute", "shop", "never-good")]), KNOWN)
    assert healed.routes == {("shop", "web"): KNOWN[ROUTE]}
    assert stale == {ROUTE}


def test_a_good_cluster_stays_the_same_object() -> None:
    cluster = Cluster()
    assert heal(cluster, KNOWN) == (cluster, frozenset())


def test_an_object_that_was_read_is_not_replaced() -> None:
    cluster = gather([KNOWN[ROUTE]], [ROUTE])  # written twice, once well and once badly
    assert heal(cluster, KNOWN) == (cluster, frozenset())


def test_what_is_deleted_is_forgotten_and_what_is_broken_is_not() -> None:
    result = compile_cluster(gather([], [ROUTE]), KNOWN)
    assert result.last_good == {ROUTE: KNOWN[ROUTE]}
    assert result.stale == {ROUTE}
    assert compile_cluster(gather([], [ROUTE]), result.last_good).last_good == result.last_good, (
        "for as long as it lasts"
    )


def test_a_faulty_object_leaves_the_last_good_version_in_place() -> None:
    now = given(GOOD.replace("generation: 1", "generation: 2")).cluster
    new = now.routes["shop", "web"]
    assert remember(now, KNOWN, {ROUTE})[ROUTE] is KNOWN[ROUTE]
    assert remember(now, KNOWN, ())[ROUTE] is new
    assert remember(now, {}, {ROUTE})[ROUTE] is new


def test_it_survives_a_restart() -> None:
    assert load(dump(KNOWN)) == KNOWN
    assert b"hush" not in dump(KNOWN)
    assert dump(load(dump(KNOWN))) == dump(KNOWN)


def test_a_line_that_cannot_be_read_costs_only_itself() -> None:
    lines = dump(KNOWN).splitlines(keepends=True)
    lines[0] = lines[0][:20] + b"\n"
    lines.insert(2, b'{"kind":"Wonder","object":{}}\n')
    assert load(b"".join(lines)) == {reference: KNOWN[reference] for reference in sorted(KNOWN)[1:]}


@for_any(st.binary(max_size=200))
def test_nothing_in_a_state_file_hides_what_is_good(raw: bytes) -> None:
    assert load(raw + b"\n" + dump(KNOWN)).keys() >= KNOWN.keys()
