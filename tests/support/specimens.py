"""One good object of every kind that has every field, and everything that can be wrong with a field, by its type.

`specimens` are the objects; `mutations` yields each with one field broken. Used by the tests of `resources`, of
`local.files` and, against a real API server, of the CRDs.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from msgspec import inspect

from sidewinder_operator.resources import KINDS

FOLDER = Path(__file__).with_name("specimens")


def specimens() -> dict[str, dict[str, Any]]:
    """Kind → a good object with every field, but for those of `more`."""
    found: dict[str, dict[str, Any]] = {}
    for document in _documents():
        found.setdefault(document["kind"], document)
    return found


def more() -> list[dict[str, Any]]:
    """Good objects with the fields that do not go with those of the first of their kind."""
    firsts = specimens()
    return [document for document in _documents() if firsts[document["kind"]] != document]


def _documents() -> Iterator[dict[str, Any]]:
    for path in sorted(FOLDER.glob("*.yaml")):
        yield from yaml.load_all(path.read_text(), yaml.CSafeLoader)


class Mutation(NamedTuple):
    """A specimen with one thing wrong. `field` is where, `path` the same as keys and indices."""

    kind: str
    field: str
    what: str
    raw: dict[str, Any]
    names: str = ""  # what the message must name

    @property
    def id(self) -> str:
        """For pytest."""
        return f"{self.kind}:{self.field}:{self.what}"


class Node(NamedTuple):
    """A value of a specimen, with its type."""

    keys: tuple[str | int, ...]
    kind: inspect.Type
    required: bool
    owner: type[Any] | None


def nodes(raw: dict[str, Any]) -> Iterator[Node]:
    """Every value of an object, the outer ones first."""
    described = inspect.type_info(KINDS[raw["apiVersion"], raw["kind"]])
    body = {key: value for key, value in raw.items() if key not in ("apiVersion", "kind")}
    yield from _nodes(body, Node((), described, True, None))


def _nodes(value: Any, node: Node) -> Iterator[Node]:
    kind = plain(node.kind)
    yield node._replace(kind=kind)
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            if field.encode_name in value:
                child = Node((*node.keys, field.encode_name), field.type, field.required, kind.cls)
                yield from _nodes(value[field.encode_name], child)
    elif isinstance(kind, inspect.VarTupleType):
        for index, item in enumerate(value):
            yield from _nodes(item, Node((*node.keys, index), kind.item_type, False, None))


def plain(kind: inspect.Type) -> inspect.Type:
    """Without metadata and None."""
    while True:
        if isinstance(kind, inspect.Metadata):
            kind = kind.type
        elif isinstance(kind, inspect.UnionType) and kind.includes_none and len(kind.types) == 2:
            kind = next(member for member in kind.types if not isinstance(member, inspect.NoneType))
        else:
            return kind


def spelled(keys: tuple[str | int, ...]) -> str:
    """spec.rules[0].name."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def changed(raw: dict[str, Any], keys: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """A copy with another value there. What is beside the way is shared: there are ten thousand of these."""
    copied, target = _copied(raw, keys)
    target[keys[-1]] = value
    return copied


def without(raw: dict[str, Any], keys: tuple[str | int, ...]) -> dict[str, Any]:
    """A copy without that field, as `changed`."""
    copied, target = _copied(raw, keys)
    del target[keys[-1]]
    return copied


def _copied(raw: dict[str, Any], keys: tuple[str | int, ...]) -> tuple[dict[str, Any], Any]:
    """A copy, and what in it holds the last of the keys."""
    copied: dict[str, Any] = copy.copy(raw)
    target: Any = copied
    for key in keys[:-1]:
        target[key] = copy.copy(target[key])
        target = target[key]
    return copied, target


def found(raw: Any, keys: tuple[str | int, ...]) -> Any:
    """The value there."""
    for key in keys:
        raw = raw[key]
    return raw


_WRONG: dict[type[inspect.Type], tuple[Any, ...]] = {
    inspect.StructType: ("text", 7, True, ["a"]),
    inspect.VarTupleType: ("text", 7, {"a": 1}),
    inspect.DictType: ("text", 7, ["a"]),
    inspect.StrType: (7, 7.5, True, ["a"], {"a": 1}),
    inspect.IntType: ("seven", 7.5, True, [7], {"a": 7}),
    inspect.BoolType: ("maybe", 1, [True]),
    inspect.LiteralType: ([], {"a": 1}, True, "Nonsense"),
    inspect.BytesType: (7, "not base64!", ["a"]),
    inspect.UnionType: ([], {"a": 1}, True, 7.5),
}


def mutations(raw: dict[str, Any]) -> Iterator[Mutation]:
    """Every field of the object, with every wrong type, range and name that its type knows of."""
    for node in nodes(raw):
        if not node.keys:
            continue
        field = spelled(node.keys)
        for wrong in (*_WRONG[type(node.kind)], *_beyond(node.kind, found(raw, node.keys))):
            what = repr(wrong) if len(repr(wrong)) < 40 else f"{len(wrong)} long"
            yield Mutation(raw["kind"], field, what, changed(raw, node.keys, wrong))
        if node.required:
            yield Mutation(raw["kind"], field, "missing", without(raw, node.keys))
            yield Mutation(raw["kind"], field, "null", changed(raw, node.keys, None))
        if isinstance(node.kind, inspect.StructType) and node.kind.forbid_unknown_fields:
            yield from _misspelt(raw, node)


def _beyond(kind: inspect.Type, value: Any) -> Iterator[Any]:
    if isinstance(kind, inspect.IntType):
        if kind.ge is not None:
            yield kind.ge - 1
        if kind.le is not None:
            yield kind.le + 1
    elif isinstance(kind, inspect.StrType):
        if kind.min_length:
            yield ""
        if kind.max_length is not None:
            yield (value * kind.max_length)[: kind.max_length] + value[-1:] if value else "x" * (kind.max_length + 1)
        if kind.pattern is not None:
            yield from (
                bad for bad in ("no\x00", "ünï cödé", f"{value}\n", f"\n{value}") if not _fits(kind.pattern, bad)
            )
    elif isinstance(kind, inspect.VarTupleType):
        if kind.min_length:
            yield []
        if kind.max_length is not None:
            yield [_numbered(value[0], index) for index in range(kind.max_length + 1)]


def _fits(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None


def _numbered(item: Any, index: int) -> Any:
    """Items that differ, so that only their number is wrong."""
    return {**item, "name": f"{item['name']}{index}"} if isinstance(item, dict) and "name" in item else item


def _misspelt(raw: dict[str, Any], node: Node) -> Iterator[Mutation]:
    field = spelled(node.keys)
    unknown = changed(raw, (*node.keys, "zzzzzzzz"), 1)
    yield Mutation(raw["kind"], f"{field}.zzzzzzzz", "unknown", unknown, "known are")
    for name, value in found(raw, node.keys).items():
        wrong = f"{name}x"
        mutated = changed(without(raw, (*node.keys, name)), (*node.keys, wrong), value)
        yield Mutation(raw["kind"], f"{field}.{wrong}", "misspelt", mutated, f"did you mean `{name}`?")
