"""Writes `docs/reference/`: one page per kind, from the same types as the CRDs. `make crds` runs it.

A field's row says its type, its bounds and default, and what it is for, all as the schema has it (`schema`), so that
page and API server cannot differ.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sidewinder_operator.resources import unbuilt
from sidewinder_operator.resources.crd import DEFINITIONS
from sidewinder_operator.resources.meta import VERSION
from sidewinder_operator.resources.policy import SECTIONS, ApiPolicy, ApiPolicySpec
from sidewinder_operator.resources.schema import Schema, schema
from sidewinder_operator.resources.workload import LocalProcess, LocalProcessSpec


class Page(NamedTuple):
    """A kind and where it is documented."""

    kind: type[Any]
    spec: type[Any]
    note: str = ""


_FILES = "It exists in files only (`sidewinder up -f`, `sidewinder validate -f`); a cluster does not know it."
PAGES = (*(Page(of.kind, of.spec) for of in DEFINITIONS), Page(LocalProcess, LocalProcessSpec, _FILES))


def render(page: Page) -> str:
    """The page's text."""
    found = schema(page.spec)
    parts = [
        f"# {page.kind.KIND}",
        "<!-- Generated from the resource types by `make crds`; change those. -->",
        " ".join((page.kind.__doc__ or "").split()),
        *([page.note] if page.note else []),
        f"`apiVersion: {VERSION}`, `kind: {page.kind.KIND}`. A field in **bold** is required.",
        *(_section(f"spec{path}", part) for path, part in _objects("", found)),
        *(_policies() if page.kind is ApiPolicy else ()),
    ]
    return "\n\n".join(parts) + "\n"


def _objects(path: str, found: Schema) -> Iterator[tuple[str, Schema]]:
    """Every object of the schema, outer ones first, with its path."""
    yield path, found
    for name, field in found["properties"].items():
        inner = field["items"] if field["type"] == "array" else field
        if inner["type"] == "object":
            yield from _objects(f"{path}.{name}{'[]' if field['type'] == 'array' else ''}", inner)


def _section(path: str, found: Schema) -> str:
    required = set(found.get("required", ()))
    rows = [
        f"| {f'**{name}**' if name in required else name} | {_type(field)} | {_default(field)} | {_text(field)} |"
        for name, field in found["properties"].items()
    ]
    rules = [f"- {rule['message']}" for rule in found.get("x-kubernetes-validations", ())]
    table = "\n".join(["| field | type | default | |", "| --- | --- | --- | --- |", *rows])
    return "\n\n".join([f"## `{path}`", table, *(["\n".join(rules)] if rules else [])])


def _type(field: Schema) -> str:
    if "enum" in field:
        return " \\| ".join(f"`{value}`" for value in field["enum"] if value != "")
    if field["type"] == "array":
        return f"list of {_type(field['items'])}, {field.get('minItems', 0)} to {field['maxItems']}"
    if field["type"] == "integer":
        return f"{field['minimum']} to {field['maximum']}" if "maximum" in field else "whole number"
    return {"string": "text", "boolean": "true or false"}.get(field["type"], "object")


def _default(field: Schema) -> str:
    default = field.get("default")
    if default is None or isinstance(default, dict):
        return ""
    if isinstance(default, list):
        return "every request" if isinstance(default[0], dict) else ", ".join(f"`{item}`" for item in default)
    return f"`{default}`"


def _text(field: Schema) -> str:
    return str(field.get("description", "")).replace("|", "\\|")


def _policies() -> Iterator[str]:
    """What a table of fields cannot say: how sections attach and merge."""
    rows = [
        f"| `{name}` | {section.SIDE} | {section.MERGING} | {', '.join(sorted(section.TARGETS - _UNKNOWN))} |"
        for name, section in SECTIONS.items()
    ]
    head = ["| section | acts in | merging | may be attached to |", "| --- | --- | --- | --- |"]
    yield "## Sections"
    yield (
        "Client sections act in the caller's proxy on the backend that a route chose, Server sections in the serving "
        "proxy. With Replace the whole section of the more specific policy wins (Mesh, Namespace, Service, its port, "
        "ApiRoute, its rule, from least to most); with Add all levels apply. Of two policies with the same section on "
        "the same target the oldest wins."
    )
    yield "\n".join([*head, *rows])
    planned = ", ".join(f"`{name}`" for name in sorted(unbuilt.FIELDS[ApiPolicySpec]))
    yield f"Planned and refused by name until they are built: {planned}."


_UNKNOWN = frozenset(unbuilt.KINDS)


def files() -> dict[str, str]:
    """File name → text."""
    return {f"{page.kind.KIND.lower()}.md": render(page) for page in PAGES}


def main(folder: str) -> None:
    """Writes all of them into `folder`."""
    for name, text in files().items():
        Path(folder, name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
