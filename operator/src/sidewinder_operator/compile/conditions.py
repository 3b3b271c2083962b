"""Statuses as data: the conditions of every object of ours, derived from problems alone.

Called by whoever shows them (`status` writes them, the CLI prints them); what proxies have acknowledged is added there.
Conditions stand once for the whole object and once per parent or target, whose reference is echoed as written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

import msgspec

from sidewinder_operator.compile.compiler import Compiled
from sidewinder_operator.problems import Problem, Reference
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.policy import ApiPolicy, TargetRef
from sidewinder_operator.resources.route import ApiRoute, ParentRef
from sidewinder_operator.resources.workload import ExternalWorkload

# Reasons that the Gateway API keeps for ResolvedRefs: the object is accepted, something that it names is not there.
UNRESOLVED = frozenset({"BackendNotFound", "InvalidEntry", "InvalidKind", "KeysUnavailable", "RefNotPermitted"})
LOST = frozenset({"Overridden", "Conflicted"})
# On one target a policy that lost everything there is refused, even where it holds on another.
HELD_BY_OTHERS = frozenset({"Conflicted"})
LONGEST_MESSAGE = 32_768  # what metav1.Condition allows


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """As metav1.Condition, but for the time, which only its writer knows."""

    type: Literal["Accepted", "ResolvedRefs", "Overridden", "Selected"]
    status: Literal["True", "False"]
    reason: str
    message: str = ""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The same for one parent of a route or one target of a policy."""

    ref: ParentRef | TargetRef
    conditions: tuple[Condition, ...]


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be told of one object. `stale`: its last good version serves, not the one observed."""

    observed_generation: int = 0
    stale: bool = False
    conditions: tuple[Condition, ...]
    parts: tuple[Part, ...] = ()


def statuses(cluster: Cluster, compiled: Compiled, read: Iterable[Problem] = ()) -> dict[Reference, Status]:
    """The status of every ApiRoute, ApiPolicy and ExternalWorkload as written. `read`: what the loader has found."""
    told: dict[Reference, list[Problem]] = defaultdict(list)
    for problem in (*read, *compiled.problems):
        told[problem.reference].append(problem)
    found: dict[Reference, Status] = {}
    for route in cluster.routes.values():
        found[route.reference] = _status(route, "spec.parentRefs", route.spec.parent_refs, told[route.reference])
    for policy in cluster.policies.values():
        found[policy.reference] = _status(policy, "spec.targetRefs", policy.spec.target_refs, told[policy.reference])
    for workload in cluster.workloads.values():
        found[workload.reference] = _of_workload(workload, cluster, told[workload.reference])
    for reference in cluster.broken:
        if reference.kind in (ApiRoute.KIND, ApiPolicy.KIND, ExternalWorkload.KIND):
            found[reference] = _broken(told[reference], reference in compiled.stale)
    return dict(sorted(found.items()))


def _status(
    thing: ApiRoute | ApiPolicy, base: str, refs: Iterable[ParentRef | TargetRef], problems: list[Problem]
) -> Status:
    everywhere = [problem for problem in problems if not problem.field.startswith(base)]
    parts = []
    for index, ref in enumerate(refs):
        here = [problem for problem in problems if _at(problem.field, f"{base}[{index}]")]
        conditions = _conditions(thing, everywhere + here, refusing=HELD_BY_OTHERS)
        parts.append(Part(ref=ref, conditions=conditions))
    return Status(
        observed_generation=thing.metadata.generation,
        conditions=_conditions(thing, problems),
        parts=tuple(parts),
    )


def _of_workload(workload: ExternalWorkload, cluster: Cluster, problems: list[Problem]) -> Status:
    """It has no proxy: what can be said is whether anything leads to it."""
    namespace, _ = workload.key
    labels = workload.metadata.labels.items()
    selecting = sorted(
        service.name
        for (space, _), service in cluster.services.items()
        if space == namespace and service.spec.selector and service.spec.selector.items() <= labels
    )
    selected = Condition(type="Selected", status="True", reason="Selected", message=f"by {', '.join(selecting)}")
    if not selecting:
        message = "no Service of its namespace selects its labels: nothing is sent to it"
        selected = Condition(type="Selected", status="False", reason="NoService", message=message)
    errors = [problem for problem in problems if problem.severity == "Error"]
    return Status(
        observed_generation=workload.metadata.generation,
        conditions=(_condition("Accepted", "Accepted", errors), selected),
    )


def _at(field: str, path: str) -> bool:
    return field == path or field.startswith(f"{path}.")


def _broken(problems: list[Problem], stale: bool) -> Status:
    """An object that cannot be read."""
    after = "the last good version serves on" if stale else "nothing serves in its place"
    errors = [problem for problem in problems if problem.severity == "Error"]
    text = _message(errors)
    refused = Condition(
        type="Accepted",
        status="False",
        reason=errors[0].reason if errors else "Invalid",
        message=f"{text}; {after}" if text else after,
    )
    return Status(stale=stale, conditions=(refused,))


def _conditions(
    thing: ApiRoute | ApiPolicy, problems: list[Problem], refusing: frozenset[str] = frozenset()
) -> tuple[Condition, ...]:
    unresolved = [problem for problem in problems if problem.reason in UNRESOLVED]
    refused = [
        problem
        for problem in problems
        if problem.reason not in UNRESOLVED and (problem.severity == "Error" or problem.reason in refusing)
    ]
    lost = [problem for problem in problems if problem.reason in LOST and problem not in refused]
    conditions = [_condition("Accepted", "Accepted", refused)]
    if isinstance(thing, ApiRoute) or unresolved:  # of a policy, only what went wrong is worth a condition
        conditions.append(_condition("ResolvedRefs", "ResolvedRefs", unresolved))
    if lost:
        conditions.append(Condition(type="Overridden", status="True", reason="Overridden", message=_message(lost)))
    return tuple(conditions)


def _condition(kind: Literal["Accepted", "ResolvedRefs"], well: str, problems: list[Problem]) -> Condition:
    if not problems:
        return Condition(type=kind, status="True", reason=well)
    return Condition(type=kind, status="False", reason=problems[0].reason, message=_message(problems))


def _message(problems: Iterable[Problem]) -> str:
    return "; ".join(f"{problem.field}: {problem.message}" for problem in problems)[:LONGEST_MESSAGE]
