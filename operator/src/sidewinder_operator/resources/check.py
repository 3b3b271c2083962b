"""Runs the rules between fields (`RULES`) over one object whose shape is right, and the uniqueness of its lists.

`read` calls it for every object, so the walk is planned once per type: a type without rules below it costs nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec import inspect

from sidewinder_operator.resources.constraints import Rule
from sidewinder_operator.resources.shape import Fault


class _Child(NamedTuple):
    """A field that has something to check: itself a list with distinct items, or something below it."""

    attribute: str
    name: str
    many: bool
    unique: str  # "" | "set" | "map": as in the schema
    plan: _Plan | None


class _Plan(NamedTuple):
    rules: tuple[Rule, ...]
    children: tuple[_Child, ...]


def check(value: Any) -> Iterator[Fault]:
    """Everything that does not fit together in `value`."""
    kind: object = type(value)
    plan = _plan(kind)
    return iter(()) if plan is None else _run(value, plan, "")


def _run(value: Any, plan: _Plan, path: str) -> Iterator[Fault]:
    for rule in plan.rules:
        for found in rule.find(value):
            field, _, more = found.partition(": ")
            yield Fault(_join(path, field), rule.reason, f"{rule.message} ({more})" if more else rule.message)
    for child in plan.children:
        below = getattr(value, child.attribute)
        if not below:
            continue
        here = _join(path, child.name)
        if child.unique:
            yield from _repeated(below, child.unique, here)
        if child.plan is None:
            continue
        if child.many:
            for index, item in enumerate(below):
                yield from _run(item, child.plan, f"{here}[{index}]")
        else:
            yield from _run(below, child.plan, here)


def _repeated(items: tuple[Any, ...], unique: str, path: str) -> Iterator[Fault]:
    if len(items) < 2:
        return
    seen: set[Any] = set()
    for index, item in enumerate(items):
        key = item.name if unique == "map" else item
        if key in seen:
            field = f"{path}[{index}].name" if unique == "map" else f"{path}[{index}]"
            yield Fault(field, "Duplicate", f"{key} stands here twice: each may stand once")
        seen.add(key)


def _join(path: str, field: str) -> str:
    return f"{path}.{field}" if path and field else path or field


@functools.cache
def _plan(kind: object) -> _Plan | None:
    described = inspect.type_info(kind)
    assert isinstance(described, inspect.StructType)
    children = tuple(child for field in described.fields if (child := _child(field)) is not None)
    rules: tuple[Rule, ...] = getattr(kind, "RULES", ())
    return _Plan(rules, children) if rules or children else None


def _child(field: inspect.Field) -> _Child | None:
    inner, unique = unwrapped(field.type)
    many = isinstance(inner, inspect.VarTupleType)
    if isinstance(inner, inspect.VarTupleType):
        inner, _ = unwrapped(inner.item_type)
    below: object = inner.cls if isinstance(inner, inspect.StructType) else None
    plan = None if below is None else _plan(below)
    return _Child(field.name, field.encode_name, many, unique, plan) if plan is not None or unique else None


def unwrapped(kind: inspect.Type) -> tuple[inspect.Type, str]:
    """The type without its metadata and its None, and how its items are told apart."""
    unique = ""
    while True:
        if isinstance(kind, inspect.Metadata):
            unique = (kind.extra or {}).get("list", unique)
            kind = kind.type
        elif isinstance(kind, inspect.UnionType) and kind.includes_none and len(kind.types) == 2:
            kind = next(member for member in kind.types if not isinstance(member, inspect.NoneType))
        else:
            return kind, unique
