"""What must hold between the fields of one object: each rule lives once, with its Python, its CEL and its message.

`read` runs the Python, `crd` writes the CEL. A rule without CEL is one that CEL cannot say, or not within its budget;
the operator alone tells it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sidewinder_operator.resources.quantity import milliseconds

_RESERVED = {"namespace": "__namespace__"}  # how Kubernetes writes fields that are words of CEL
Finder = Callable[[Any], Iterator[str]]


class Rule(NamedTuple):
    """`find` yields the path below the object of everything that breaks the rule ("" is the object itself).

    The message says what would be right; a finder may yield `path: more` to add what it saw.
    """

    find: Finder
    message: str
    cel: str = ""
    field: str = ""  # CEL's fieldPath
    reason: str = "Invalid"


def holds(
    test: Callable[[Any], bool], message: str, *, cel: str = "", field: str = "", reason: str = "Invalid"
) -> Rule:
    """The plain rule: `test` is true of a good object; a bad one is told at `field`."""

    def find(value: Any) -> Iterator[str]:
        if not test(value):
            yield field

    return Rule(find, message, cel, f".{field}" if field else "", reason)


def union(payloads: dict[str, str], *, optional: tuple[str, ...] = ()) -> tuple[Rule, ...]:
    """A union is `type` plus one payload field: `payloads` is type → field. Those of `optional` may stay away."""
    return tuple(rule for member, field in payloads.items() for rule in _member(member, field, field not in optional))


def _member(member: str, field: str, required: bool) -> Iterator[Rule]:
    attribute = snake(field)

    def missing(value: Any) -> Iterator[str]:
        if value.type == member and getattr(value, attribute) is None:
            yield field

    def surplus(value: Any) -> Iterator[str]:
        if value.type != member and getattr(value, attribute) is not None:
            yield field

    if required:
        cel = f"self.type == '{member}' ? has(self.{field}) : true"
        yield Rule(missing, f"{field} is required when type is {member}", cel, f".{field}", "Required")
    cel = f"has(self.{field}) ? self.type == '{member}' : true"
    yield Rule(surplus, f"{field} belongs to type {member} and may stand only there", cel, f".{field}")


def distinct(field: str, *parts: str) -> Rule:
    """No two items of the list `field` agree in all `parts`.

    (CEL's optional fields or a default in a condition would say it shorter; their estimated cost has no bound.)
    """
    attribute, names = snake(field), [snake(part) for part in parts]

    def find(value: Any) -> Iterator[str]:
        seen: set[tuple[Any, ...]] = set()
        for index, item in enumerate(getattr(value, attribute)):
            key = tuple(getattr(item, name) for name in names)
            if key in seen:
                yield f"{field}[{index}]"
            seen.add(key)

    names_ = [_RESERVED.get(part, part) for part in parts]
    same = " && ".join(f"has(a.{name}) == has(b.{name}) && (!has(a.{name}) || a.{name} == b.{name})" for name in names_)
    cel = f"self.{field}.all(a, self.{field}.exists_one(b, {same}))"
    return Rule(find, f"items of {field} must differ in {' or '.join(parts)}", cel, f".{field}", "Duplicate")


def within(field: str, least: str, most: str) -> Rule:
    """The duration `field` lies between these."""
    attribute, low, high = snake(field), milliseconds(least), milliseconds(most)
    return holds(
        lambda value: low <= milliseconds(getattr(value, attribute)) <= high,
        f"{field} must be between {least} and {most}",
        cel=f"duration(self.{field}) >= duration('{least}') && duration(self.{field}) <= duration('{most}')",
        field=field,
        reason="OutOfRange",
    )


def quoted(pattern: re.Pattern[str]) -> str:
    """A pattern as a CEL text; there `$` is the end and nothing but the end."""
    return "'" + pattern.pattern.replace(r"\Z", "$").replace("\\", "\\\\").replace("'", "\\'") + "'"


def snake(name: str) -> str:
    """backendRefs → backend_refs."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
