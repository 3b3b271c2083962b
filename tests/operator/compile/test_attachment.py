"""Attachment and conflict for every kind of section, tried with synthetic ones: Replace, Add, Minimum, security."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
import pytest

from sidewinder_operator.compile.compiler import Compiled, compile_cluster
from sidewinder_operator.compile.conditions import statuses
from sidewinder_operator.compile.sections import Built, Fault, Row, Scope, route_chain, service_chain
from sidewinder_operator.problems import Problem, Reference
from sidewinder_operator.resources.policy import ApiPolicy
from sidewinder_operator.resources.section import Section
from tests.support.clusters import Given, given

EVERYWHERE = frozenset({"Mesh", "Namespace", "Service", "ApiRoute"})


class Audit(Section, frozen=True, kw_only=True):
    SIDE: ClassVar = "Server"
    MERGING: ClassVar = "Add"
    TARGETS: ClassVar = EVERYWHERE


class Limit(Section, frozen=True, kw_only=True):
    SIDE: ClassVar = "Server"
    MERGING: ClassVar = "Minimum"
    TARGETS: ClassVar = EVERYWHERE


class Lock(Section, frozen=True, kw_only=True):
    SIDE: ClassVar = "Server"
    SECURITY: ClassVar = True
    TARGETS: ClassVar = EVERYWHERE


class Guard(Section, frozen=True, kw_only=True):
    """A security section that adds up, as authorization does."""

    SIDE: ClassVar = "Server"
    MERGING: ClassVar = "Add"
    SECURITY: ClassVar = True
    TARGETS: ClassVar = frozenset({"Mesh", "Namespace", "Service"})


def _annotated(name: str) -> Callable[[ApiPolicy], Any]:
    """Synthetic sections stand in annotations, where the schema does not mind them."""
    return lambda policy: policy.metadata.annotations.get(f"test/{name}")


def _number(written: str, *_: object) -> Built:
    if written.isdigit():
        return int(written), ()
    if written.endswith("?"):
        return int(written[:-1]), (Fault("value", "Invalid", f"half of {written} is no number"),)
    return None, (Fault("value", "Invalid", f"{written} is no number"),)


def _row(name: str, kind: type[Section], combine: Callable[[Any, Any], Any] | None = None) -> Row:
    return Row(name, kind, _annotated(name), _number, combine)


AUDIT, LIMIT, LOCK, GUARD = _row("audit", Audit), _row("limit", Limit, min), _row("lock", Lock), _row("guard", Guard)
SYNTHETIC = (AUDIT, LIMIT, LOCK, GUARD)

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{kind: Service, name: web}]
  rules:
  - {name: all, backendRefs: [{name: web, port: 80}]}
  - name: rewritten
    matches: [{path: {value: /r}}]
    filters: [{type: URLRewrite, urlRewrite: {hostname: other.example}}]
    backendRefs: [{name: web, port: 80}]
  - {name: foreign, matches: [{path: {value: /f}}], backendRefs: [{name: web, namespace: far, port: 80}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: consumer, namespace: far}
spec:
  parentRefs: [{kind: Service, name: web, namespace: shop}]
  rules: [{name: all, backendRefs: [{name: web, namespace: shop, port: 80}]}]
"""
PORT = service_chain("shop", "web", "http")


def policy(name: str, targets: str, namespace: str = "shop", **sections: str) -> str:
    annotations = {f"test/{section}": value for section, value in sections.items()}
    return f"""
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {{name: {name}, namespace: {namespace}, uid: {name}, annotations: {json.dumps(annotations)}}}
spec:
  targetRefs: [{targets}]
  loadBalancing: {{type: RoundRobin}}
"""


def compiled(*texts: str, before: Compiled | None = None, found: Given | None = None) -> Compiled:
    now = found or given(SERVICE, *texts)
    last_good = before.last_good if before is not None else None
    return compile_cluster(now.cluster, last_good, rows=SYNTHETIC, wrecks=now.wrecks)


def values(result: Compiled, row: Row, chain: tuple[Scope, ...] = PORT) -> list[Any]:
    return [applied.closed or applied.value for applied in result.attachments.effective(row, chain)]


def told(result: Compiled, section: str) -> list[Problem]:
    return [problem for problem in result.problems if problem.section == section]


WEB = "{kind: Service, name: web}"


def test_add_collects_all_levels_and_never_conflicts() -> None:
    result = compiled(
        policy("b", WEB, audit="2"), policy("a", WEB, audit="1"), policy("n", "{kind: Namespace}", audit="0")
    )
    assert values(result, AUDIT) == [0, 1, 2]
    assert not told(result, "audit")


def test_minimum_takes_the_smaller_of_all_levels_and_never_conflicts() -> None:
    result = compiled(
        policy("a", WEB, limit="7"), policy("b", WEB, limit="9"), policy("n", "{kind: Namespace}", limit="8")
    )
    assert set(values(result, LIMIT)) == {7}
    assert {applied.origin.uid for applied in result.attachments.effective(LIMIT, PORT)} == {"a", "b", "n"}
    assert not told(result, "limit")


def test_the_most_specific_replaces_the_whole_section() -> None:
    port = "{kind: Service, name: web, sectionName: http}"
    result = compiled(
        policy("n", "{kind: Namespace}", lock="1"), policy("s", WEB, lock="2"), policy("p", port, lock="3")
    )
    assert values(result, LOCK) == [3]
    assert values(result, LOCK, service_chain("shop", "web", "")) == [2]
    assert values(result, LOCK, service_chain("shop", "other", "")) == [1]


def test_the_loser_of_a_conflict_is_told_who_won() -> None:
    result = compiled(policy("a", WEB, lock="1"), policy("b", WEB, lock="2", audit="5"))
    (problem,) = told(result, "lock")
    assert (problem.reference.name, problem.reason, problem.severity) == ("b", "Overridden", "Warning")
    assert "ApiPolicy shop/a" in problem.message
    assert values(result, AUDIT) == [5]


def test_a_policy_that_lost_everything_is_refused() -> None:
    result = compiled(policy("a", WEB, lock="1"), policy("b", WEB, lock="2"))
    (problem,) = told(result, "lock")
    assert (problem.reason, problem.severity) == ("Conflicted", "Error")


def test_the_same_target_twice_is_no_conflict() -> None:
    once = given(SERVICE, policy("a", WEB, lock="1"))
    ((key, written),) = once.cluster.policies.items()
    spec = msgspec.structs.replace(written.spec, target_refs=written.spec.target_refs * 2)
    twice = {key: msgspec.structs.replace(written, spec=spec)}
    result = compiled(found=once._replace(cluster=msgspec.structs.replace(once.cluster, policies=twice)))
    assert values(result, LOCK) == [1]
    assert not told(result, "lock")


def test_a_broken_security_section_keeps_its_last_good_version() -> None:
    before = compiled(policy("a", WEB, lock="1"))
    result = compiled(policy("a", WEB, lock="none"), before=before)
    assert values(result, LOCK) == [1]
    assert result.attachments.effective(LOCK, PORT)[0].origin.stale
    (problem,) = told(result, "lock")
    assert (problem.field, problem.reason) == ("spec.lock.value", "Invalid")
    again = compiled(policy("a", WEB, lock="none"), before=result)  # the broken one has not become the last good one
    assert values(again, LOCK) == [1]


def test_a_broken_security_section_that_never_was_good_closes_its_scope() -> None:
    result = compiled(policy("a", WEB, lock="none", audit="1"))
    assert values(result, LOCK) == ["lock of ApiPolicy shop/a is not in force: none is no number"]
    assert values(result, AUDIT) == [1], "its other sections hold"
    assert values(result, LOCK, service_chain("shop", "other", "")) == []


def test_a_broken_section_that_secures_nothing_takes_only_itself_out() -> None:
    result = compiled(policy("a", WEB, audit="none"), policy("b", WEB, audit="3"))
    assert values(result, AUDIT) == [3]


def test_a_closed_section_among_those_that_add_up_stays_visible() -> None:
    result = compiled(policy("a", WEB, guard="none"), policy("n", "{kind: Namespace}", guard="1"))
    assert values(result, GUARD) == [1, "guard of ApiPolicy shop/a is not in force: none is no number"]


@pytest.mark.parametrize(
    ("target", "scope"),
    [
        ("{kind: Service, name: web}", Scope("Service", "shop", "web")),
        ("{kind: Service, nmae: web}", Scope("Namespace", "shop")),
    ],
    ids=["a target that can be read", "a target that cannot"],
)
def test_a_policy_that_cannot_be_read_closes_what_its_security_sections_meant(target: str, scope: Scope) -> None:
    text = f"""
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {{name: a, namespace: shop}}
spec: {{targetRefs: [{target}], lock: {{mode: 1}}, audit: {{}}}}
"""
    result = compiled(text)
    (applied,) = result.attachments.on(LOCK, scope)
    assert applied.closed == "lock of ApiPolicy shop/a is not in force: the policy cannot be read"
    assert values(result, AUDIT) == values(result, GUARD) == []


def test_a_policy_that_cannot_be_read_any_more_holds_as_it_was() -> None:
    before = compiled(policy("a", WEB, lock="1"))
    broken = given(SERVICE, policy("a", WEB, lock="2").replace("RoundRobin", "Nonsense"))
    assert broken.wrecks, broken.problems
    result = compiled(before=before, found=broken)
    assert values(result, LOCK) == [1]
    assert result.stale == {Reference("ApiPolicy", "shop", "a")}


RULE = "{{kind: ApiRoute, name: web, sectionName: {}}}"


@pytest.mark.parametrize(
    ("target", "namespace", "why"),
    [
        (RULE.format("rewritten"), "shop", "rule rewritten rewrites the URL"),
        (RULE.format("foreign"), "shop", "rule foreign has a backend in another namespace"),
        ("{kind: ApiRoute, name: web}", "shop", "rule rewritten rewrites the URL"),
        ("{kind: ApiRoute, name: consumer}", "far", "only its own namespace sets it"),
    ],
)
def test_a_server_section_on_a_route_must_be_able_to_act_where_it_is_served(
    target: str, namespace: str, why: str
) -> None:
    result = compiled(policy("a", target, namespace, audit="1"))
    (problem,) = told(result, "audit")
    assert (problem.reason, problem.severity) == ("Invalid", "Error")
    assert why in problem.message
    assert result.attachments.table.get("audit", {}) == {}


def test_a_server_section_on_a_rule_that_can_be_matched_again_holds() -> None:
    result = compiled(policy("a", RULE.format("all"), audit="1"))
    assert values(result, AUDIT, (*PORT, *route_chain("shop", "web", "all"))) == [1]
    assert not told(result, "audit")


def test_security_on_a_route_is_refused_and_closes_the_route() -> None:
    result = compiled(policy("a", RULE.format("all"), lock="1"))
    (problem,) = told(result, "lock")
    assert "attach lock to the Service" in problem.message
    assert values(result, LOCK, route_chain("shop", "web", "all"))[0].startswith("lock of ApiPolicy shop/a")


def test_a_section_on_a_kind_that_it_is_not_made_for_is_refused() -> None:
    result = compiled(policy("a", "{kind: ApiRoute, name: web}", guard="1"))
    (problem,) = told(result, "guard")
    assert problem.message == "guard cannot be attached to kind ApiRoute, only to Mesh, Namespace, Service"


def test_statuses_tell_the_winner_on_each_target() -> None:
    found = given(
        SERVICE, policy("a", WEB, lock="1"), policy("b", f"{WEB}, {{kind: Service, name: nowhere}}", lock="2")
    )
    result = compiled(found=found)
    status = statuses(found.cluster, result)[Reference("ApiPolicy", "shop", "b")]
    assert [part.conditions[0].reason for part in status.parts] == ["Conflicted", "TargetNotFound"]


def test_a_fault_of_a_section_that_holds_all_the_same_is_a_warning() -> None:
    result = compiled(policy("a", "{kind: Service, name: web}", lock="7?"))
    (problem,) = told(result, "lock")
    assert (problem.field, problem.reason, problem.severity) == ("spec.lock.value", "Invalid", "Warning")
    (applied,) = result.attachments.effective(LOCK, PORT)
    assert (applied.value, applied.closed) == (7, "")
