"""read: every field of every kind with a wrong type, range and name is told by name; good objects come through."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from sidewinder_operator.problems import Reference
from sidewinder_operator.resources import KINDS
from sidewinder_operator.resources.read import read
from tests.support.examples import examples
from tests.support.specimens import Mutation, changed, more, mutations, nodes, plain, specimens, spelled

SPECIMENS = specimens()
ALL = [*SPECIMENS.values(), *more()]
MUTATIONS = [mutation for raw in ALL for mutation in mutations(raw)]
SPOILT: dict[str, list[Mutation]] = {}  # by kind and the first steps of the field's path
for one in MUTATIONS:
    SPOILT.setdefault(" ".join((one.kind, ".".join(one.field.split(".")[:3]))), []).append(one)


def told(raw: Any) -> list[tuple[str, str, str]]:
    """Field, reason and severity of every problem."""
    return [(problem.field, problem.reason, problem.severity) for problem in read(raw).problems]


@pytest.mark.parametrize("raw", ALL, ids=lambda raw: f"{raw['kind']}:{raw['metadata']['name']}")
def test_a_specimen_is_good(raw: dict[str, Any]) -> None:
    reading = read(raw)
    assert reading.problems == []
    assert type(reading.found).__name__ == raw["kind"]


def test_there_is_a_specimen_of_every_kind() -> None:
    assert set(SPECIMENS) == {kind for _, kind in KINDS}


def test_specimens_have_every_field_of_every_type() -> None:
    written: set[tuple[str, str]] = set()
    known: set[tuple[str, str]] = set()
    for raw in ALL:
        for node in nodes(raw):
            if node.owner is not None:
                written.add((node.owner.__name__, str(node.keys[-1])))
            kind = plain(node.kind)
            if isinstance(kind, inspect.StructType):
                known |= {(kind.cls.__name__, field.encode_name) for field in kind.fields}
    assert known - written == set()


@pytest.mark.parametrize("place", SPOILT)
def test_everything_wrong_with_a_field_is_told_by_its_name(place: str) -> None:
    """Several in one test: a test for each would take longer to begin than to run."""
    for mutation in SPOILT[place]:
        reading = read(mutation.raw)
        assert reading.found is None, mutation.id
        assert reading.refused, mutation.id
        fitting = [problem for problem in reading.problems if problem.field.startswith(mutation.field)]
        assert fitting, (mutation.id, reading.problems)
        assert mutation.names in " ".join(problem.message for problem in fitting), mutation.id
        assert all(problem.message for problem in reading.problems), mutation.id


def test_there_are_many_mutations() -> None:
    assert len(MUTATIONS) > 1000


@pytest.mark.parametrize("kind", sorted(SPECIMENS))
def test_an_optional_field_that_is_null_is_not_written(kind: str) -> None:
    raw = SPECIMENS[kind]
    for node in nodes(raw):
        if node.keys and not node.required and isinstance(node.keys[-1], str):
            problems = read(changed(raw, node.keys, None)).problems
            assert not any(problem.reason == "WrongType" for problem in problems), spelled(node.keys)


def test_all_mistakes_of_an_object_are_told_at_once() -> None:
    raw = copy.deepcopy(SPECIMENS["ApiRoute"])
    raw["spec"]["rules"][0]["name"] = 7
    raw["spec"]["rules"][1]["backendRefs"][0]["port"] = 0
    raw["spec"]["rules"][2]["filter"] = []
    raw["metadata"]["anotations"] = {}
    assert [field for field, _, _ in told(raw)] == [
        "metadata.anotations",
        "spec.rules[0].name",
        "spec.rules[1].backendRefs[0].port",
        "spec.rules[2].filter",
    ]


def test_what_is_told_of_one_object_is_bounded() -> None:
    raw = copy.deepcopy(SPECIMENS["ApiRoute"])
    raw["spec"] |= {f"field{number}": 1 for number in range(100_000)}
    assert len(read(raw).problems) == 20


def test_a_number_where_text_belongs_says_to_quote_it() -> None:
    raw = changed(SPECIMENS["ApiRoute"], ("spec", "rules", 0, "matches", 0, "headers", 0, "value"), True)
    (problem,) = read(raw).problems
    assert problem.message == "true is not text: put it in quotes"


def test_a_secret_s_values_are_in_no_message() -> None:
    raw = copy.deepcopy(SPECIMENS["Secret"])
    raw["data"] = {"key": "hunter2 is not base64"}
    raw["stringData"] = {"other": 4711}
    text = repr(read(raw))
    assert "hunter2" not in text
    assert "4711" not in text


@pytest.mark.parametrize(
    ("raw", "field", "reason", "severity"),
    [
        (None, "", "WrongType", "Error"),
        ([], "", "WrongType", "Error"),
        ("text", "", "WrongType", "Error"),
        ({}, "apiVersion", "Required", "Error"),
        ({"apiVersion": 1, "kind": "ApiRoute"}, "apiVersion", "Required", "Error"),
        ({"apiVersion": "sidewinder.dev/v1alpha1", "kind": "ApiRote"}, "kind", "UnknownKind", "Error"),
        ({"apiVersion": "sidewnder.dev/v1alpha1", "kind": "ApiRote"}, "kind", "UnknownKind", "Error"),
        ({"apiVersion": "sidewinder.dev/v1", "kind": "ApiRoute"}, "apiVersion", "UnknownVersion", "Error"),
        ({"apiVersion": "v1", "kind": "Servce"}, "kind", "UnknownKind", "Error"),
        ({"apiVersion": "serving.example/v1", "kind": "Service"}, "apiVersion", "UnknownVersion", "Error"),
        ({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}, "kind", "NotBuilt", "Error"),
        ({"apiVersion": "sidewinder.dev/v1alpha1", "kind": "Backend"}, "kind", "NotBuilt", "Error"),
        ({"apiVersion": "apps/v1", "kind": "Deployment"}, "kind", "PassedOver", "Warning"),
        ({"apiVersion": "example.org/v1", "kind": "Widget"}, "kind", "PassedOver", "Warning"),
    ],
)
def test_what_is_no_object_of_ours(raw: Any, field: str, reason: str, severity: str) -> None:
    assert told(raw)[0] == (field, reason, severity)
    assert read(raw).found is None


def test_the_nearest_kind_is_named() -> None:
    (problem,) = read({"apiVersion": "v1", "kind": "Servce"}).problems
    assert problem.message == 'unknown kind "Servce"; did you mean `Service`?'


def test_status_and_the_server_s_own_metadata_are_passed_over() -> None:
    raw = copy.deepcopy(SPECIMENS["ApiRoute"])
    raw["status"] = {"conditions": "anything"}
    raw["metadata"] |= {"managedFields": [], "resourceVersion": "7", "ownerReferences": [], "finalizers": ["a/b"]}
    assert read(raw).problems == []


def test_who_it_is_stands_in_every_problem() -> None:
    raw = changed(SPECIMENS["ApiRoute"], ("spec", "rules"), [])
    assert {problem.reference for problem in read(raw).problems} == {Reference("ApiRoute", "bookinfo", "specimen")}
    assert read(raw).reference == Reference("ApiRoute", "bookinfo", "specimen")


def test_a_namespace_defaults() -> None:
    raw = copy.deepcopy(SPECIMENS["Service"])
    del raw["metadata"]["namespace"]
    reading = read(raw)
    assert reading.reference == Reference("Service", "default", "reviews")
    assert reading.found is not None
    assert reading.found.key == ("default", "reviews")
    assert read(SPECIMENS["Namespace"]).reference == Reference("Namespace", "", "bookinfo")


def test_reading_is_deterministic() -> None:
    raw = changed(SPECIMENS["ApiRoute"], ("spec", "rules", 0, "retry"), {"attempts": 0, "codes": [1], "nonsense": 1})
    assert [read(raw) for _ in range(3)] == [read(copy.deepcopy(raw))] * 3


def test_a_policy_s_problem_names_its_section() -> None:
    raw = copy.deepcopy(SPECIMENS["ApiPolicy"])
    raw["spec"]["retryConstraint"]["budget"]["percent"] = 101
    raw["spec"]["cache"] = {}
    raw["spec"]["targetRefs"][0]["kind"] = 7
    assert [(problem.field, problem.section) for problem in read(raw).problems] == [
        ("spec.cache", "cache"),
        ("spec.retryConstraint.budget.percent", "retryConstraint"),
        ("spec.targetRefs[0].kind", ""),
    ]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([10**400, "\ud800"])
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=8,
)
PLACES = [(raw, node.keys) for raw in SPECIMENS.values() for node in nodes(raw) if node.keys]


@given(ANYTHING)
def test_whatever_it_is_reading_never_raises(raw: Any) -> None:
    reading = read(raw)
    assert (reading.found is None) == any(
        problem.severity == "Error" for problem in reading.problems
    ) or not reading.refused


@examples(500)
@given(st.sampled_from(PLACES), ANYTHING)
def test_whatever_stands_in_a_field_is_read_or_told(
    place: tuple[dict[str, Any], tuple[str | int, ...]], value: Any
) -> None:
    raw, keys = place
    reading = read(changed(raw, keys, value))
    assert (reading.found is None) is bool(reading.problems)
