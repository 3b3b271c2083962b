"""Which section holds where: attachment, conflict, and what is told to those who lost.

Called by `compiler` with the registry; knows no section by name. Everything is decided in order of seniority (age, then
namespace/name), so that the order of input never shows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sidewinder_operator.compile.last_good import LastGood
from sidewinder_operator.compile.sections import Applied, Attachments, Fault, Kept, Row, Scope
from sidewinder_operator.compile.seniority import origin, seniority
from sidewinder_operator.compile.targets import Targets, locate, refusal
from sidewinder_operator.compile.wreck import Wreck
from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.problems import Problem, Reference
from sidewinder_operator.resources.policy import ApiPolicy


class Claim(NamedTuple):
    """One section of one policy on one target."""

    row: Row
    ref: int  # which targetRef
    scope: Scope
    applied: Applied

    @property
    def owner(self) -> Reference:
        """The policy."""
        return self.applied.origin.reference


class World(NamedTuple):
    """What claims are judged against. Problems are added to `problems`."""

    targets: Targets
    rows: tuple[Row, ...]
    last_good: LastGood
    stale: frozenset[Reference]
    wrecks: tuple[Wreck, ...]
    problems: list[Problem]
    kept: Kept


def attach(world: World) -> Attachments:
    """Everything that policies set, by section and scope."""
    policies = sorted(world.targets.cluster.policies.values(), key=seniority)
    claims = [claim for policy in policies for claim in _claims(world, policy)]
    claims += [
        claim for wreck in sorted(world.wrecks, key=lambda each: each.reference) for claim in _shut(world, wreck)
    ]
    return _contest(claims, world.problems)


def _claims(world: World, policy: ApiPolicy) -> Iterator[Claim]:
    scopes = dict(_scopes(world, policy))
    for row in world.rows:
        applied = _applied(world, policy, row)
        if applied is not None:
            for index, scope in scopes.items():
                yield from _claim(world, row, index, scope, applied)


def _scopes(world: World, policy: ApiPolicy) -> Iterator[tuple[int, Scope]]:
    seen = set()
    for index, ref in enumerate(policy.spec.target_refs):
        found = locate(world.targets, policy.namespace, ref)
        if isinstance(found, Fault):
            _tell(world.problems, policy.reference, f"spec.targetRefs[{index}]", found)
        elif found not in seen:  # the same target written twice means nothing
            seen.add(found)
            yield index, found


def _claim(world: World, row: Row, index: int, scope: Scope, applied: Applied) -> Iterator[Claim]:
    fault = refusal(world.targets, row, scope)
    if fault is not None:
        owner = applied.origin.reference
        _tell(world.problems, owner, f"spec.targetRefs[{index}]", fault, row.name)
        if not row.written.SECURITY:
            return
        applied = _closed(row, applied.origin, fault.message)
    yield Claim(row, index, scope, applied)


def _applied(world: World, policy: ApiPolicy, row: Row) -> Applied | None:
    """The section as written, else as it last was good, else (security) closed, else not at all."""
    written = row.read(policy)
    if written is None:
        return None
    owner = policy.reference
    value, faults = row.build(written, world.targets.cluster, owner.namespace)
    severity = "Error" if value is None else "Warning"  # it holds, but for what the fault names
    for fault in faults:
        _tell(world.problems, owner, f"spec.{row.name}", fault, row.name, severity)
    if value is not None:
        return Applied(value, origin(policy, owner in world.stale))
    previous = world.last_good.get(owner)
    written = row.read(previous) if isinstance(previous, ApiPolicy) else None
    if previous is not None and written is not None:
        value, _ = row.build(written, world.targets.cluster, owner.namespace)
        if value is not None:
            return Applied(value, origin(previous, stale=True))
    if (value := world.kept.get((owner, row.name))) is not None:
        return Applied(value, origin(policy, stale=True))
    return _closed(row, origin(policy), "; ".join(fault.message for fault in faults)) if row.written.SECURITY else None


def _closed(row: Row, source: Origin, why: str) -> Applied:
    return Applied(None, source, f"{row.name} of {source.reference} is not in force: {why}")


def _shut(world: World, wreck: Wreck) -> Iterator[Claim]:
    """The security sections of a policy that cannot be read and never was good."""
    if wreck.reference in world.last_good:
        return
    for row in world.rows:
        if not row.written.SECURITY or row.name not in wreck.sections:
            continue
        for index, ref in enumerate(wreck.targets):
            scope = locate(world.targets, wreck.reference.namespace, ref)
            if isinstance(scope, Scope):
                yield Claim(row, index, scope, _closed(row, Origin(wreck.reference), "the policy cannot be read"))


def _contest(claims: Iterable[Claim], problems: list[Problem]) -> Attachments:
    """Claims come oldest first: of a Replace section the first on a scope wins; the others never conflict."""
    holders: dict[tuple[str, Scope], list[Claim]] = defaultdict(list)
    made: Counter[Reference | tuple[Reference, int]] = Counter()
    lost: list[tuple[Claim, Reference]] = []
    for claim in claims:
        made.update((claim.owner, (claim.owner, claim.ref)))
        held = holders[claim.row.name, claim.scope]
        if held and claim.row.written.MERGING == "Replace":
            lost.append((claim, held[0].owner))
        else:
            held.append(claim)
    _tell_losers(lost, made, problems)
    table: dict[str, dict[Scope, tuple[Applied, ...]]] = defaultdict(dict)
    for (name, scope), held in holders.items():
        table[name][scope] = tuple(claim.applied for claim in held)
    return Attachments(dict(table))


def _tell_losers(
    lost: list[tuple[Claim, Reference]], made: Counter[Reference | tuple[Reference, int]], problems: list[Problem]
) -> None:
    """Some lost: Overridden. All on a target: Conflicted there. All everywhere: the policy is refused."""
    gone: Counter[Reference | tuple[Reference, int]] = Counter()
    for claim, _ in lost:
        gone.update((claim.owner, (claim.owner, claim.ref)))
    for claim, winner in lost:
        target = (claim.owner, claim.ref)
        reason = "Conflicted" if gone[target] == made[target] else "Overridden"
        message = f"{claim.row.name} on {claim.scope} is already set by {winner}, which comes first"
        severity = "Error" if gone[claim.owner] == made[claim.owner] else "Warning"
        fault = Fault("", reason, message)
        _tell(problems, claim.owner, f"spec.targetRefs[{claim.ref}]", fault, claim.row.name, severity)


def _tell(
    problems: list[Problem], owner: Reference, base: str, fault: Fault, section: str = "", severity: str = "Error"
) -> None:
    field = f"{base}.{fault.field}" if fault.field else base
    problems.append(
        Problem(
            reference=owner, field=field, reason=fault.reason, message=fault.message, section=section, severity=severity
        )
    )
