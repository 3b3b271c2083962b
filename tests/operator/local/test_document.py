"""document: what kubectl reads, within bounds; everything else is told with its line and column."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_operator.local.document import DEEPEST, Budget, Malformed, compose


def composed(text: str, budget: Budget | None = None, line: int = 0) -> Any:
    """The data of a document."""
    return compose(text, line, budget or Budget())


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", None),
        ("# nothing\n", None),
        ("~", None),
        ("a: 1\nb: [x, {c: d}]", {"a": 1, "b": ["x", {"c": "d"}]}),
        ("a: 'yes'\nb: yes\nc: \"1\"\nd: 1", {"a": "yes", "b": True, "c": "1", "d": 1}),
        ("on: a\n1: b\n2.5: c\n'1.0': d", {"true": "a", "1": "b", "2.5": "c", "1.0": "d"}),
        ("a: |\n  one\n  two\nb: >-\n  three\n  four", {"a": "one\ntwo\n", "b": "three four"}),
        ("a: &x {k: v}\nb: *x", {"a": {"k": "v"}, "b": {"k": "v"}}),
        ("a: &x 7\nb: *x\n*x : c", {"a": 7, "b": 7, "7": "c"}),
        ("base: &x {k: 1, l: 2}\na: {<<: *x, l: 3}", {"base": {"k": 1, "l": 2}, "a": {"l": 3, "k": 1}}),
        ("x: &x {k: 1}\nz: &z {k: 2, l: 2}\na: {<<: [*x, *z]}",
         {"x": {"k": 1}, "z": {"k": 2, "l": 2}, "a": {"k": 1, "l": 2}}),
        ("a: {l: 3, <<: {l: 4, m: 5}}", {"a": {"l": 3, "m": 5}}),
        ("a: '<<'\n'<<': b", {"a": "<<", "<<": "b"}),
        ("a: !!str 7\nb: !!int '7'\nc: !!float 7\nd: !!bool yes\ne: !!null ''\nf: ! 7\ng: !!binary dGV4dA==",
         {"a": "7", "b": 7, "c": 7, "d": True, "e": None, "f": "7", "g": "text"}),
        ("!!map {a: !!seq [1]}", {"a": [1]}),
        ("a: 1:30\nb: 2026-01-01\nc: 0o17", {"a": "1:30", "b": "2026-01-01", "c": 15}),
        ('{"a": "\\u00e9\\/", "b": [true, null, 1e3]}', {"a": "é/", "b": [True, None, 1000]}),
        ("%YAML 1.1\n---\na: 1", {"a": 1}),
        ("--- {a: 1}", {"a": 1}),
    ],
)  # fmt: skip
def test_reads(text: str, data: Any) -> None:
    assert composed(text) == data


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("a: 1\na: 2", (2, 1), "`a` stands here twice, first on line 1"),
        ("x:\n  on: 1\n  'true': 2", (3, 3), "`true` stands here twice, first on line 2"),
        ("a: {b: 1, 'b': 2}", (1, 11), "`b` stands here twice, first on line 1"),
        ("a: [1\nb: 2", (2, 2), "not YAML: "),
        ("a:\n\t- b", (2, 1), "not YAML: "),
        ("a: b: c", (1, 5), "not YAML: "),
        ("a: 'open", (1, 9), "not YAML: "),
        ("a: *nowhere", (1, 4), "*nowhere is nowhere defined"),
        ("a: &x [1, *x]", (1, 11), "*x contains itself"),
        ("a: &x {b: {c: *x}}", (1, 15), "*x contains itself"),
        ("a: !custom b", (1, 4), "the tag !custom is not read: leave it out"),
        ("a: !custom {b: c}", (1, 4), "the tag !custom is not read: leave it out"),
        ("a: !!python/object:os.system b", (1, 4), "is not read: leave it out"),
        ("a: !!int seven", (1, 4), "seven is no int"),
        ("a: !!binary '%'", (1, 4), "!!binary is not base64 of text"),
        ("a: !!binary ä", (1, 4), "!!binary is not base64 of text"),
        ("a: .nan", (1, 4), ".nan is no number that JSON has"),
        ("a: -.inf", (1, 4), "-.inf is no number that JSON has"),
        ("? [a]\n: b", (1, 3), "a key must be text"),
        ("? {a: b}\n: c", (1, 3), "a key must be text"),
        ("~: b", (1, 1), "a key must be text"),
        ("<<: 7", (1, 5), "<< takes a mapping or a list of mappings"),
        ("a: 1\n...\nb: 2", (3, 1), "not YAML: "),
        ("a: 1\n--- {b: 2}", (2, 1), "a second document begins here"),
        ("a: " + "[" * 100, (1, 4 + DEEPEST - 1), "is nested deeper than 64 levels"),
        ('a: "\\ud800"', (1, 7), "not YAML: "),
    ],
)
def test_tells_what_cannot_be_read_and_where(text: str, place: tuple[int, int], why: str) -> None:
    with pytest.raises(Malformed) as told:
        composed(text)
    assert why in str(told.value)
    assert (told.value.line, told.value.column) == place


def test_lines_count_from_the_beginning_of_the_file() -> None:
    with pytest.raises(Malformed) as told:
        composed("a: 1\na: 2", line=41)
    assert told.value.line == 43
    assert "first on line 42" in str(told.value)


def test_what_was_read_before_the_fault_is_kept() -> None:
    with pytest.raises(Malformed) as told:
        composed(
            "kind: ApiRoute\nmetadata: {name: reviews, namespace: bookinfo}\nspec:\n  rules:\n  - name: a\n   b: c"
        )
    assert told.value.partial["kind"] == "ApiRoute"
    assert told.value.partial["metadata"] == {"name": "reviews", "namespace": "bookinfo"}
    assert told.value.partial["spec"] == {"rules": [{"name": "a"}]}


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    began = time.process_time()
    with pytest.raises(Malformed, match="aliases make too much of this file"):
        composed("\n".join(lines))
    assert time.process_time() - began < 1


def test_a_bomb_of_merges_is_refused_too() -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(Malformed, match="aliases make too much"):
        composed("\n".join([*lines, "b: {<<: *a8}"]))


def test_the_number_of_values_is_bounded() -> None:
    budget = Budget(nodes=100)
    with pytest.raises(Malformed, match="too many values"):
        composed("[" + "1, " * 200 + "]", budget)
    assert budget.spent


@given(st.text(alphabet="abc:-[]{}&*!|>'\"#%@`,? \n\t~<12", max_size=60))
def test_any_text_is_read_or_told(text: str) -> None:
    told: Malformed | None = None
    try:
        composed(text)
    except Malformed as fault:
        told = fault
    assert told is None or (str(told) and told.line >= 1)
