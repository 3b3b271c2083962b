"""policy: sections know themselves; a new one needs a field and nothing else."""

from __future__ import annotations

from sidewinder_operator.compile.registry import ROWS
from sidewinder_operator.resources.load_balancing import LoadBalancing
from sidewinder_operator.resources.policy import SECTIONS, ApiPolicy, ApiPolicySpec, TargetRef, targets_of
from sidewinder_operator.resources.read import read
from sidewinder_operator.resources.retry_constraint import RetryConstraint
from tests.support.refusals import policy, targets


def test_sections_are_the_fields_that_are_sections() -> None:
    assert SECTIONS["retryConstraint"] is RetryConstraint
    assert SECTIONS["loadBalancing"] is LoadBalancing
    assert set(SECTIONS) == {row.name for row in ROWS}


def test_a_policy_has_the_sections_that_are_written() -> None:
    found = read(policy(retryConstraint={})).found
    assert isinstance(found, ApiPolicy)
    assert found.sections() == {"retryConstraint": RetryConstraint(), "loadBalancing": LoadBalancing(type="RoundRobin")}


def test_a_section_may_be_attached_to_its_targets_only() -> None:
    class Narrow(LoadBalancing, frozen=True, kw_only=True):
        TARGETS = frozenset({"Service"})

    rule = targets_of("loadBalancing", Narrow)
    spec = ApiPolicySpec(target_refs=(TargetRef(kind="Namespace"),), load_balancing=LoadBalancing(type="RoundRobin"))
    assert list(rule.find(spec)) == ["loadBalancing: not Namespace"]
    assert rule.message == "loadBalancing may be attached to Service"
    assert rule.cel == "!has(self.loadBalancing) || self.targetRefs.all(t, t.kind in ['Service'])"
    fitting = ApiPolicySpec(target_refs=(TargetRef(kind="Service", name="a"),), load_balancing=spec.load_balancing)
    assert list(rule.find(fitting)) == []


def test_both_sections_may_be_attached_everywhere_that_is_built() -> None:
    for kind in ("Mesh", "Namespace", "Service", "ApiRoute"):
        name = {"name": "a"} if kind in ("Service", "ApiRoute") else {}
        assert read(targets({"kind": kind, **name})).problems == []
