"""Where in a document a field stands: line and column. Called by `files`, only for documents that have problems.

Keeping the place of every node would cost more than the manifests; one more pass over one document costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from sidewinder_operator.local.document import Malformed, events, key_of
from sidewinder_operator.local.scalars import resolve


def locate(text: str, line: int, fields: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Line and column (from 1) of each field of the document, or of the nearest thing around it that is there."""
    wanted = {
        field: [field[:i] for i in range(len(field), -1, -1) if i == len(field) or field[i] in ".["] for field in fields
    }
    known = {prefix for prefixes in wanted.values() for prefix in (*prefixes, "")}
    places: dict[str, tuple[int, int]] = {}
    try:
        for path, mark in _paths(text, line, known):
            places.setdefault(path, (line + mark.line + 1, mark.column + 1))
    except Malformed:
        pass  # what was read until then has its place
    top = places.get("", (line + 1, 1))
    return {
        field: next((places[prefix] for prefix in prefixes if prefix in places), top)
        for field, prefixes in wanted.items()
    }


def _paths(text: str, line: int, known: set[str]) -> Iterator[tuple[str, Any]]:
    """The path and mark of every node whose path is known."""
    stack: list[list[Any]] = []  # [path or None, next index or None in a mapping, key or None]
    for event in events(text, line):
        kind = type(event)
        if kind is MappingEndEvent or kind is SequenceEndEvent:
            stack.pop()
            continue
        if kind not in (ScalarEvent, MappingStartEvent, SequenceStartEvent, AliasEvent):
            continue
        path: str | None = ""
        if stack:
            top = stack[-1]
            if top[1] is None and top[2] is None:
                top[2] = _key(event)
                path = _below(top, known)
                if path is not None:
                    yield path, event.start_mark
                continue
            path = _below(top, known)
            top[1], top[2] = (None if top[1] is None else top[1] + 1), None
        if path is not None:
            yield path, event.start_mark
        if kind is MappingStartEvent or kind is SequenceStartEvent:
            stack.append([path, None if kind is MappingStartEvent else 0, None])


def _below(top: list[Any], known: set[str]) -> str | None:
    owner, index, key = top
    if owner is None:
        return None
    path = f"{owner}[{index}]" if index is not None else f"{owner}.{key}" if owner else str(key)
    return path if path in known else None


def _key(event: Any) -> str:
    if type(event) is not ScalarEvent:
        return ""
    return key_of(resolve(event.value) if event.implicit[0] else event.value) or ""
