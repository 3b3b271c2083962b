"""requestMirror: who gets copies, and of how many requests."""

from __future__ import annotations

import pytest

from sidewinder_operator.resources.read import read
from sidewinder_operator.resources.route import ApiRoute
from tests.support.refusals import rule

REF = {"name": "shadow", "port": 9080}


def problems(mirror: object) -> dict[str, str]:
    """Field below the mirror → reason."""
    found = read(rule(filters=[{"type": "RequestMirror", "requestMirror": mirror}])).problems
    return {each.field.rpartition("requestMirror")[2]: each.reason for each in found}


@pytest.mark.parametrize(
    "more",
    [{}, {"percent": 0}, {"percent": 100}, {"fraction": {"numerator": 1, "denominator": 1_000_000}}, {"compare": True}],
    ids=repr,
)
def test_it_is_read(more: dict[str, object]) -> None:
    result = read(rule(filters=[{"type": "RequestMirror", "requestMirror": {"backendRef": REF, **more}}]))
    assert not result.problems
    assert isinstance(result.found, ApiRoute)
    [found] = result.found.spec.rules[0].filters
    assert found.request_mirror is not None
    assert (found.request_mirror.backend_ref.name, found.request_mirror.backend_ref.kind) == ("shadow", "Service")


def test_who_wants_less_than_a_percent_is_told_how() -> None:
    written = rule(filters=[{"type": "RequestMirror", "requestMirror": {"backendRef": REF, "percent": 0.1}}])
    [problem] = read(written).problems
    assert problem.message == "0.1 is not a whole number from 0 to 100 (for less than 1: `fraction`)"


def test_it_has_a_backend() -> None:
    assert set(problems({"percent": 5}).values()) == {"Required"}
    assert problems({"backendRef": {**REF, "weight": 1}}) == {".backendRef.weight": "UnknownField"}
    assert problems({"backendRef": {**REF, "filters": []}}) == {".backendRef.filters": "UnknownField"}
