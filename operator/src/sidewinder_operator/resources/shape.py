"""Walks one object as YAML or JSON gave it along its type, and tells everything in it that has the wrong shape.

`read` calls `examine` only for an object that msgspec has refused: msgspec is fast and stops at the first mistake, this
is thorough. A field that is null counts as not written, as on the API server.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from sidewinder_operator.resources import unbuilt

MOST = 20  # faults told of one object: nobody reads more before mending the first
_HALF = re.compile("[\ud800-\udfff]")
_LONGEST_NAME = 64  # what a field's name is compared by: comparing is quadratic in it
# Fields that people look for in the wrong place.
_ELSEWHERE = {"labels": "labels belong into metadata.labels"}


class Fault(NamedTuple):
    """One mistake: where in the object, a CamelCase reason, and what would be right."""

    field: str
    reason: str
    message: str


class Enough(Exception):
    """MOST faults are found."""


class Faults(list[Fault]):
    """What has been found. `secret` keeps values out of the messages."""

    def __init__(self, *, secret: bool = False) -> None:
        super().__init__()
        self.secret = secret

    def tell(self, field: str, reason: str, message: str) -> None:
        """One more; raises Enough when it is the last that is told."""
        self.append(Fault(_HALF.sub("?", field), reason, _HALF.sub("?", message)))  # what is told can be written down
        if len(self) >= MOST:
            raise Enough

    def shown(self, value: Any) -> str:
        """A value as a person wrote it, shortened."""
        if self.secret:
            return "what is written"
        if isinstance(value, dict | list):
            return "a mapping" if isinstance(value, dict) else "a list"
        text = json.dumps(value, ensure_ascii=False, default=str)
        return text if len(text) <= 60 else f"{text[:57]}…"


def examine(raw: Any, kind: object, faults: Faults, path: str = "") -> Any:
    """`raw` without its nulls; what is wrong with it goes to `faults`. Raises Enough."""
    return _walk(raw, _described(kind), path, faults)


@functools.cache
def _described(kind: object) -> inspect.Type:
    return inspect.type_info(kind)


def nearest(name: str, known: list[str]) -> str:
    """`; did you mean …?`, or what there is."""
    folded = {word.lower(): word for word in known}
    close = difflib.get_close_matches(name[:_LONGEST_NAME].lower(), folded, n=1, cutoff=0.6)
    if close:
        return f"; did you mean `{folded[close[0]]}`?"
    return f"; known are {', '.join(sorted(known))}" if known else "; nothing can stand here"


def _walk(raw: Any, kind: inspect.Type, path: str, faults: Faults) -> Any:
    extra: dict[str, Any] = {}
    while isinstance(kind, inspect.Metadata):
        extra = {**(kind.extra or {}), **extra}
        kind = kind.type
    return _WALKS[type(kind)](raw, kind, path, faults, extra)


def _wrong(raw: Any, path: str, faults: Faults, right: str) -> Any:
    hint = ""
    if right.startswith("text") and isinstance(raw, bool | int | float):
        hint = ": put it in quotes"
    faults.tell(path, "WrongType", f"{faults.shown(raw)} is not {right}{hint}")
    return raw


def _struct(raw: Any, kind: inspect.StructType, path: str, faults: Faults, extra: dict[str, Any]) -> Any:
    if not isinstance(raw, dict):
        return _wrong(raw, path, faults, f"a mapping with {_listed(kind)}")
    known = {field.encode_name: field for field in kind.fields}
    planned: frozenset[str] = unbuilt.FIELDS.get(kind.cls, frozenset())
    found: dict[str, Any] = {}
    for name, value in raw.items():
        here = f"{path}.{name}" if path else str(name)
        if (field := known.get(name)) is not None:
            if value is not None:
                _refuse_planned(value, kind.cls, name, here, faults)
                found[name] = _walk(value, field.type, here, faults)
        elif name in planned:
            faults.tell(here, "NotBuilt", f"{name} is not built yet: take it out")
        elif kind.forbid_unknown_fields:
            elsewhere = _ELSEWHERE.get(str(name))
            unknown = elsewhere or f"unknown field `{_short(name)}`{nearest(str(name), list(known))}"
            faults.tell(here, "UnknownField", unknown)
    for name, field in known.items():
        if field.required and name not in found and raw.get(name) is None:
            faults.tell(f"{path}.{name}" if path else name, "Required", f"{name} is required")
    return found


def _listed(kind: inspect.StructType) -> str:
    names = [field.encode_name for field in kind.fields if field.required] or [kind.fields[0].encode_name]
    return ", ".join(f"`{name}`" for name in names)


def _refuse_planned(value: Any, kind: type[Any], name: str, path: str, faults: Faults) -> None:
    if isinstance(value, str) and value in unbuilt.VALUES.get(kind, {}).get(name, ()):
        faults.tell(path, "NotBuilt", f"{name} {value} is not built yet")


def _tuple(raw: Any, kind: inspect.VarTupleType, path: str, faults: Faults, extra: dict[str, Any]) -> Any:
    if not isinstance(raw, list | tuple):
        return _wrong(raw, path, faults, "a list")
    least, most = kind.min_length or 0, kind.max_length
    if len(raw) < least:
        faults.tell(path, "TooFew", f"{least} at least must be here")
    if most is not None and len(raw) > most:
        faults.tell(path, "TooMany", f"{len(raw)} are too many: {most} at most may be here")
    return [_walk(item, kind.item_type, f"{path}[{index}]", faults) for index, item in enumerate(raw[:most])]


def _dict(raw: Any, kind: inspect.DictType, path: str, faults: Faults, extra: dict[str, Any]) -> Any:
    if not isinstance(raw, dict):
        return _wrong(raw, path, faults, "a mapping")
    found = {}
    for key, value in raw.items():
        if value is not None:
            _walk(key, kind.key_type, f"{path}.{key}", faults)
            found[key] = _walk(value, kind.value_type, f"{path}.{key}", faults)
    return found


def _text(raw: Any, kind: inspect.StrType, path: str, faults: Faults, extra: dict[str, Any]) -> Any:
    right = extra.get("right", "text")
    if not isinstance(raw, str):
        return _wrong(raw, path, faults, f"text: {right}" if "right" in extra else "text")
    if not raw.isascii() and _HALF.search(raw):
        faults.tell(path, "Invalid", "holds half of a surrogate pair, which is no character (RFC 8259, 8.2)")
    elif len(raw) < (kind.min_length or 0):
        faults.tell(path, "TooShort", f"must not be empty: {right}" if not raw else f"is too short: {right}")
    elif kind.max_length is not None and len(raw) > kind.max_length:
        faults.tell(path, "TooLong", f"{len(raw)} characters are too many: {kind.max_length} at most")
    elif kind.pattern is not None and not re.search(kind.pattern, raw):
        faults.tell(path, "Invalid", f"{faults.shown(raw)} is not {right}")
    return raw


def _integer(raw: Any, kind: inspect.IntType, path: str, faults: Faults, extra: dict[str, Any]) -> Any:
    right = extra.get("right") or _range(kind)
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    if isinstance(raw, bool) or not isinstance(raw, int):
        return _wrong(raw, path, faults, right)
    if (kind.ge is not None and raw < kind.ge) or (kind.le is not None and raw > kind.le):
        faults.tell(path, "OutOfRange", f"{raw if raw.bit_length() < 64 else 'this'} is not {right}")
    return raw


def _range(kind: inspect.IntType) -> str:
    return "a whole number" if kind.ge is None else f"a whole number from {kind.ge} to {kind.le}"


def _literal(raw: Any, kind: inspect.LiteralType, path: str, faults: Faults, extra: dict[str, Any]) -> Any:
    values = list(kind.values)
    if isinstance(raw, bool) or not any(type(raw) is type(value) for value in values):
        return _wrong(raw, path, faults, f"one of {', '.join(map(str, values))}")
    told = any(fault.field == path and fault.reason == "NotBuilt" for fault in faults[-1:])
    if raw not in values and not told:
        message = f"{faults.shown(raw)} is not one of {', '.join(str(value) or '(empty)' for value in values)}"
        if isinstance(raw, str):
            close = difflib.get_close_matches(raw[:_LONGEST_NAME], [str(value) for value in values], n=1)
            message += f"; did you mean `{close[0]}`?" if close else ""
        faults.tell(path, "Unsupported", message)
    return raw


def _truth(raw: Any, kind: inspect.BoolType, path: str, faults: Faults, extra: dict[str, Any]) -> Any:
    return raw if isinstance(raw, bool) else _wrong(raw, path, faults, "true or false")


def _bytes(raw: Any, kind: inspect.BytesType, path: str, faults: Faults, extra: dict[str, Any]) -> Any:
    try:
        msgspec.convert(raw, bytes)
    except (msgspec.ValidationError, UnicodeEncodeError):
        faults.tell(path, "Invalid", "is not base64 (text as it stands belongs into stringData)")
    return raw


def _union(raw: Any, kind: inspect.UnionType, path: str, faults: Faults, extra: dict[str, Any]) -> Any:
    members = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
    if len(members) == 1:
        return _walk(raw, members[0], path, faults)
    tries: list[Faults] = []  # a union of scalars (a port by number or name): the member of the right type speaks
    for member in members:
        attempt = Faults(secret=faults.secret)
        value = _walk(raw, member, path, attempt)
        if not attempt:
            return value
        tries.append(attempt)
    best = min(tries, key=lambda attempt: attempt[0].reason == "WrongType")
    faults.tell(*best[0])
    return raw


def _anything(raw: Any, kind: inspect.Type, path: str, faults: Faults, extra: dict[str, Any]) -> Any:
    return raw


def _short(name: Any) -> str:
    text = str(name)
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}…"


_WALKS: dict[type[inspect.Type], Callable[..., Any]] = {
    inspect.StructType: _struct,
    inspect.VarTupleType: _tuple,
    inspect.DictType: _dict,
    inspect.StrType: _text,
    inspect.IntType: _integer,
    inspect.LiteralType: _literal,
    inspect.BoolType: _truth,
    inspect.BytesType: _bytes,
    inspect.UnionType: _union,
    inspect.AnyType: _anything,
}
