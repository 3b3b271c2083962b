"""schema: how a type is written as a structural schema."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, holds
from sidewinder_operator.resources.meta import Strict
from sidewinder_operator.resources.schema import schema


class Inner(Strict, frozen=True, kw_only=True):
    """An item.

    Not told.
    """

    name: Annotated[str, Meta(max_length=9, pattern=r"^a\Z", description="Its name.")]
    kind: Literal["b", "a"] = "a"


class Outer(Strict, frozen=True, kw_only=True):
    """A whole."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(lambda _: True, "told", cel="true", field="count", reason="Required"),
        holds(lambda _: True, "not told"),
    )

    count: Annotated[int, Meta(ge=1, le=5)] | None = None
    items: Annotated[tuple[Inner, ...], Meta(max_length=3, extra={"list": "map"})]
    more: Annotated[tuple[Annotated[int, Meta(ge=0, le=9)], ...], Meta(max_length=3)] = (1, 2)
    inner: Inner = Inner(name="a")


def test_a_type_as_a_schema() -> None:
    item = {
        "type": "object",
        "description": "An item.",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "maxLength": 9, "pattern": "^a$", "description": "Its name."},
            "kind": {"type": "string", "enum": ["a", "b"], "default": "a"},
        },
    }
    number = {"type": "integer", "format": "int32", "minimum": 0, "maximum": 9}
    assert schema(Outer) == {
        "type": "object",
        "description": "A whole.",
        "required": ["items"],
        "properties": {
            "count": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 5},
            "items": {
                "type": "array",
                "maxItems": 3,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": item,
            },
            "more": {
                "type": "array",
                "maxItems": 3,
                "x-kubernetes-list-type": "atomic",
                "items": number,
                "default": [1, 2],
            },
            "inner": {**item, "default": {"name": "a", "kind": "a"}},
        },
        "x-kubernetes-validations": [
            {"rule": "true", "message": "told", "reason": "FieldValueRequired", "fieldPath": ".count"}
        ],
    }
