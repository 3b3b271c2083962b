"""constraints: each kind of rule, its Python beside its CEL."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from sidewinder_operator.resources.constraints import distinct, holds, quoted, snake, union, within


class Item(msgspec.Struct):
    name: str
    namespace: str | None = None


class Owner(msgspec.Struct):
    type: str = "A"
    a: str | None = None
    b_b: str | None = None
    items: tuple[Item, ...] = ()
    long_time: str = "1s"


def broken(rules: Any, value: Any) -> list[str]:
    """Every field that breaks one of the rules."""
    return [field for rule in rules for field in rule.find(value)]


RULES = union({"A": "a", "B": "bB"}, optional=("bB",))


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        (Owner(type="A", a="x"), []),
        (Owner(type="A"), ["a"]),
        (Owner(type="A", a="x", b_b="y"), ["bB"]),
        (Owner(type="B"), []),
        (Owner(type="B", a="x"), ["a"]),
        (Owner(type="C"), []),
    ],
)
def test_a_union_is_a_type_and_its_payload(value: Owner, fields: list[str]) -> None:
    assert broken(RULES, value) == fields


def test_a_union_s_cel() -> None:
    assert [(rule.cel, rule.field) for rule in RULES] == [
        ("self.type == 'A' ? has(self.a) : true", ".a"),
        ("has(self.a) ? self.type == 'A' : true", ".a"),
        ("has(self.bB) ? self.type == 'B' : true", ".bB"),
    ]


def test_distinct_tells_every_repetition() -> None:
    rule = distinct("items", "name", "namespace")
    items = (Item("a"), Item("a", "x"), Item("a"), Item("a", "x"))
    assert broken([rule], Owner(items=items)) == ["items[2]", "items[3]"]
    assert rule.reason == "Duplicate"
    assert "a.__namespace__ == b.__namespace__" in rule.cel  # `namespace` is a word of CEL


@pytest.mark.parametrize(("text", "right"), [("1s", True), ("999ms", False), ("1m", True), ("1m1ms", False)])
def test_within(text: str, right: bool) -> None:
    rule = within("longTime", "1s", "1m")
    assert (broken([rule], Owner(long_time=text)) == []) is right
    assert rule.message == "longTime must be between 1s and 1m"


def test_holds_tells_the_object_or_a_field() -> None:
    assert broken([holds(lambda _: False, "never")], Owner()) == [""]
    assert broken([holds(lambda _: False, "never", field="a")], Owner()) == ["a"]
    assert broken([holds(lambda _: True, "always")], Owner()) == []


def test_a_pattern_as_a_text_of_cel() -> None:
    assert quoted(re.compile(r"^[.]\d'\Z")) == r"'^[.]\\d\'$'"


def test_snake() -> None:
    assert [snake(name) for name in ("name", "backendRefs", "urlRewrite")] == ["name", "backend_refs", "url_rewrite"]
