"""The OpenAPI schema of a resource type, as a structural schema of Kubernetes: bounded, with defaults and CEL rules.

Only `crd` calls it. Everything it says stands in the types; nothing is added here but how Kubernetes writes it.
"""

from __future__ import annotations

import inspect as python
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import inspect

from sidewinder_operator.resources.constraints import Rule

Schema = dict[str, Any]

_REASONS = {"Required": "FieldValueRequired", "Duplicate": "FieldValueDuplicate"}


def schema(kind: object) -> Schema:
    """The schema of a struct type."""
    return _schema(inspect.type_info(kind), echo=False)


def _schema(kind: inspect.Type, *, echo: bool) -> Schema:
    """`echo`: a copy of what was written, in status: without defaults and rules."""
    extra: dict[str, Any] = {}
    stated: Schema = {}
    while True:
        if isinstance(kind, inspect.Metadata):
            extra = {**(kind.extra or {}), **extra}
            stated = {**(kind.extra_json_schema or {}), **stated}
            kind = kind.type
        elif isinstance(kind, inspect.UnionType) and kind.includes_none:
            (kind,) = (member for member in kind.types if not isinstance(member, inspect.NoneType))
        else:
            break
    found = _WRITERS[type(kind)](kind, extra, echo or bool(extra.get("echo")))
    return {**found, **stated}


def _object(kind: inspect.StructType, extra: dict[str, Any], echo: bool) -> Schema:
    found: Schema = {"type": "object", "description": _summary(kind.cls)}
    if required := [field.encode_name for field in kind.fields if field.required]:
        found["required"] = required
    found["properties"] = {field.encode_name: _property(field, echo) for field in kind.fields}
    rules = [_rule(rule) for rule in getattr(kind.cls, "RULES", ()) if rule.cel]
    if rules and not echo:
        found["x-kubernetes-validations"] = rules
    return found


def _property(field: inspect.Field, echo: bool) -> Schema:
    found = _schema(field.type, echo=echo)
    default = _written(msgspec.to_builtins(field.default)) if field.default is not msgspec.NODEFAULT else None
    if default not in (None, [], "") and not echo:
        found["default"] = default
    return found


def _written(default: Any) -> Any:
    """A default as a user would write it: without what is empty."""
    if isinstance(default, dict):
        return {name: _written(value) for name, value in default.items() if value not in (None, (), [])}
    return [_written(item) for item in default] if isinstance(default, list | tuple) else default


def _rule(rule: Rule) -> Schema:
    found = {"rule": rule.cel, "message": rule.message, "reason": _REASONS.get(rule.reason, "FieldValueInvalid")}
    return {**found, "fieldPath": rule.field} if rule.field else found


def _list(kind: inspect.VarTupleType, extra: dict[str, Any], echo: bool) -> Schema:
    found: Schema = {"type": "array"}
    if kind.min_length is not None:
        found["minItems"] = kind.min_length
    assert kind.max_length is not None, "every list is bounded, or CEL's cost is not"
    found["maxItems"] = kind.max_length
    found["x-kubernetes-list-type"] = extra.get("list", "atomic")
    if extra.get("list") == "map":
        found["x-kubernetes-list-map-keys"] = extra.get("keys", ["name"])
    return {**found, "items": _schema(kind.item_type, echo=echo)}


def _string(kind: inspect.StrType, extra: dict[str, Any], echo: bool) -> Schema:
    found: Schema = {"type": "string"}
    if kind.min_length is not None:
        found["minLength"] = kind.min_length
    if kind.max_length is not None:
        found["maxLength"] = kind.max_length
    if kind.pattern is not None:
        found["pattern"] = kind.pattern.replace(r"\Z", "$")
    return found


def _integer(kind: inspect.IntType, extra: dict[str, Any], echo: bool) -> Schema:
    found: Schema = {"type": "integer", "format": "int32"}
    if kind.ge is not None:
        found["minimum"] = kind.ge
    if kind.le is not None:
        found["maximum"] = kind.le
    return found


def _boolean(kind: inspect.BoolType, extra: dict[str, Any], echo: bool) -> Schema:
    return {"type": "boolean"}


def _enum(kind: inspect.LiteralType, extra: dict[str, Any], echo: bool) -> Schema:
    # msgspec sorts a Literal's values; so does a reader who looks one up.
    values = list(kind.values)
    return {"type": "integer" if isinstance(values[0], int) else "string", "enum": values}


def _summary(kind: type[Any]) -> str:
    return (python.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")


_WRITERS: dict[type[inspect.Type], Callable[..., Schema]] = {
    inspect.StructType: _object,
    inspect.VarTupleType: _list,
    inspect.StrType: _string,
    inspect.IntType: _integer,
    inspect.BoolType: _boolean,
    inspect.LiteralType: _enum,
}
