"""unbuilt: what the target manifests have and nobody built is refused by name, and nothing else is refused so."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import inspect

from sidewinder_operator.resources import KINDS, unbuilt
from sidewinder_operator.resources.policy import SECTIONS
from sidewinder_operator.resources.read import read
from tests.support.refusals import policy, rule, targets


def reasons(raw: object) -> dict[str, str]:
    """Field → reason."""
    return {problem.field: problem.reason for problem in read(raw).problems}


@pytest.mark.parametrize(
    "name", sorted(unbuilt.FIELDS[next(kind for kind in unbuilt.FIELDS if kind.__name__ == "ApiPolicySpec")])
)
def test_every_planned_section(name: str) -> None:
    assert reasons(policy(**{name: {"mode": "Strict"}})) == {f"spec.{name}": "NotBuilt"}
    assert name not in SECTIONS


def test_a_rollout() -> None:
    assert reasons(rule(rollout={"steps": [{"percent": 5}]})) == {"spec.rules[0].rollout": "NotBuilt"}


def test_kinds_of_references() -> None:
    assert reasons(targets({"kind": "Gateway", "name": "a"})) == {"spec.targetRefs[0].kind": "NotBuilt"}
    backend = {"kind": "Backend", "name": "a", "port": 1}
    assert reasons(rule(backendRefs=[backend])) == {"spec.rules[0].backendRefs[0].kind": "NotBuilt"}
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": backend}}
    field = "spec.rules[0].filters[0].requestMirror.backendRef.kind"
    assert reasons(rule(filters=[mirror])) == {field: "NotBuilt"}


@pytest.mark.parametrize("kind", sorted(unbuilt.KINDS))
def test_kinds(kind: str) -> None:
    assert reasons({"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind}) == {"kind": "NotBuilt"}
    assert kind not in {known for _, known in KINDS}


def test_nothing_that_is_built_is_listed() -> None:
    for kind, names in unbuilt.FIELDS.items():
        assert not names & set(kind.__struct_encode_fields__), kind
    for owner, fields in unbuilt.VALUES.items():
        described = inspect.type_info(owner)
        assert isinstance(described, inspect.StructType)
        for name, values in fields.items():
            (field,) = [field for field in described.fields if field.encode_name == name]
            for value in values:
                with pytest.raises(msgspec.ValidationError):
                    msgspec.convert({name: value}, msgspec.defstruct("Probe", [(name, _hint(owner, field.name))]))


def _hint(owner: type, name: str) -> object:
    return msgspec.structs.fields(owner)[[f.name for f in msgspec.structs.fields(owner)].index(name)].type
