"""locate: the line and column of a field, or of what is nearest around it."""

from __future__ import annotations

import pytest

from sidewinder_operator.local.locate import locate

TEXT = """\
# a comment
kind: ApiRoute
metadata:
  name: reviews
  labels: {app.kubernetes.io/name: reviews, on: x}
spec:
  rules:
  - name: a
    matches: [{path: {value: /}}, {method: GET}]
  - {name: b, weight: 1}
  shared: &x {deep: {er: 1}}
  again: *x
"""


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ("", (2, 1)),
        ("kind", (2, 1)),
        ("metadata.name", (4, 3)),
        ("metadata.labels.app.kubernetes.io/name", (5, 12)),
        ("metadata.labels.true", (5, 45)),
        ("spec.rules", (7, 3)),
        ("spec.rules[0]", (8, 5)),
        ("spec.rules[0].matches[0].path.value", (9, 23)),
        ("spec.rules[0].matches[1].method", (9, 36)),
        ("spec.rules[1].weight", (10, 15)),
        ("spec.rules[1].missing", (10, 5)),
        ("spec.rules[7].name", (7, 3)),
        ("status.conditions", (2, 1)),
        ("spec.shared.deep.er", (11, 22)),
        ("spec.again.deep.er", (12, 3)),
    ],
)
def test_a_field_has_its_place(field: str, place: tuple[int, int]) -> None:
    assert locate(TEXT, 0, [field]) == {field: place}


def test_many_fields_take_one_pass_and_lines_count_from_the_file_s_beginning() -> None:
    assert locate(TEXT, 10, ["kind", "spec.rules[1].weight"]) == {"kind": (12, 1), "spec.rules[1].weight": (20, 15)}


def test_what_stands_before_a_fault_is_found() -> None:
    assert locate("a: 1\nb: [", 0, ["a", "b", "c"]) == {"a": (1, 1), "b": (2, 1), "c": (1, 1)}
    assert locate("", 4, ["a"]) == {"a": (5, 1)}


def test_json_has_places_too() -> None:
    assert locate('{"kind": "ApiRoute",\n "spec": {"rules": [\n{"name": 7}]}}', 0, ["spec.rules[0].name"]) == {
        "spec.rules[0].name": (3, 2)
    }
