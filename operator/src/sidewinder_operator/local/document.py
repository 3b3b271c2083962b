"""One YAML document becomes plain data, exactly as kubectl reads it, within stated bounds; and fields are found again.

`files` calls `compose` for every document, and `locate` only for documents that have problems: keeping the place of
every node would cost more than the manifests. libyaml makes the events, `scalars` says what the plain ones mean.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from sidewinder_operator.local.scalars import Scalar, resolve

DEEPEST = 64  # levels; the deepest manifest has twelve
_TAGS = "tag:yaml.org,2002:"
_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,), "float": (float, int), "bool": (bool,), "null": (type(None),), "timestamp": (str,),
}  # fmt: skip
_PLAIN_TAGS = frozenset({"map", "seq", "merge"})


class Malformed(ValueError):
    """What cannot be read, with its place (from 1) and what was read of the document before."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.line = line
        self.column = column
        self.partial: Any = None


class Budget:
    """What one file may cost: how many nodes it has, and how many more its aliases make of them."""

    def __init__(self, nodes: int = 2_000_000, aliased: int = 100_000) -> None:
        # 10 000 routes have a million nodes. Every aliased node is walked again by whoever reads the object.
        self.nodes = nodes
        self.aliased = aliased

    @property
    def spent(self) -> bool:
        """Whether nothing more of the file is read."""
        return self.nodes < 0 or self.aliased < 0


class _Open:
    """A mapping or list that has begun and not ended."""

    __slots__ = ("anchor", "began", "is_map", "key", "keyed", "lines", "merges", "merging", "value")

    def __init__(self, is_map: bool, anchor: str | None, began: int) -> None:
        self.value: Any = {} if is_map else []
        self.is_map = is_map
        self.anchor = anchor
        self.began = began  # how many nodes there were before
        self.key: str = ""
        self.keyed = False  # a key is read, its value is next
        self.lines: dict[str, int] = {}
        self.merging = False  # that key is `<<`
        self.merges: list[Any] | None = None


class _Composer:
    """Events in, data out. Nothing recurses: depth is a number here, not a stack of Python's."""

    def __init__(self, budget: Budget, line: int) -> None:
        self.budget = budget
        self.line = line  # of the document's first line in its file, from 0
        self.nodes = 0
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.documents = 0
        self.root: Any = None

    def fault(self, event: Any, message: str) -> Malformed:
        mark = event.start_mark
        return Malformed(message, self.line + mark.line + 1, mark.column + 1)

    def feed(self, event: Any) -> None:
        kind = type(event)
        if kind is ScalarEvent:
            value = _scalar(self, event)
            self.count(event)
            if event.anchor:
                self.anchors[event.anchor] = value, 1
            self.place(event, value)
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            self.open(event, kind is MappingStartEvent)
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            self.close(event)
        elif kind is AliasEvent:
            self.place(event, self.alias(event))
        elif kind is DocumentStartEvent:
            self.documents += 1
            if self.documents > 1:
                raise self.fault(event, "a second document begins here: only a line of just `---` may divide them")

    def count(self, event: Any) -> None:
        self.nodes += 1
        self.budget.nodes -= 1
        if self.budget.nodes < 0:
            raise self.fault(event, "the file has too many values: divide it")

    def open(self, event: Any, is_map: bool) -> None:
        if len(self.stack) >= DEEPEST:
            raise self.fault(event, f"is nested deeper than {DEEPEST} levels")
        if event.tag and event.tag.removeprefix(_TAGS) not in _PLAIN_TAGS:
            raise self.fault(event, f"the tag {event.tag[:64]} is not read: leave it out")
        top = self.stack[-1] if self.stack else None
        if top is not None and top.is_map and not top.keyed:
            raise self.fault(event, "a key must be text")
        self.stack.append(_Open(is_map, event.anchor, self.nodes))
        self.count(event)
        if event.anchor:
            self.anchors.pop(event.anchor, None)  # what is inside itself is a cycle

    def close(self, event: Any) -> None:
        done = self.stack.pop()
        if done.merges is not None:
            for source in done.merges:
                for key, value in source.items():
                    done.value.setdefault(key, value)
        if done.anchor:
            self.anchors[done.anchor] = done.value, self.nodes - done.began
        self.place(event, done.value)

    def alias(self, event: Any) -> Any:
        if event.anchor not in self.anchors:
            inside = any(open_.anchor == event.anchor for open_ in self.stack)
            raise self.fault(event, f"*{event.anchor[:64]} {'contains itself' if inside else 'is nowhere defined'}")
        value, size = self.anchors[event.anchor]
        self.nodes += size
        self.budget.aliased -= size
        if self.budget.aliased < 0:
            raise self.fault(event, "aliases make too much of this file: write out what they stand for")
        return value

    def place(self, event: Any, value: Any) -> None:
        if not self.stack:
            self.root = value
            return
        top = self.stack[-1]
        if not top.is_map:
            top.value.append(value)
        elif not top.keyed:
            self.key(event, top, value)
        else:
            top.keyed = False
            if top.merging and top.merges is not None:
                top.merging = False
                self.merge(event, top.merges, value)
            else:
                top.value[top.key] = value

    def key(self, event: Any, top: _Open, value: Any) -> None:
        if value == "<<" and type(event) is ScalarEvent and event.implicit[0]:
            if top.merges is not None:
                raise self.fault(event, "<< stands here twice")
            top.merges = []
            top.merging = top.keyed = True
            return
        name = key_of(value)
        if name is None:
            raise self.fault(event, "a key must be text")
        if name in top.value:
            raise self.fault(event, f"`{name[:64]}` stands here twice, first on line {top.lines[name]}")
        top.key, top.keyed, top.lines[name] = name, True, self.line + event.start_mark.line + 1

    def merge(self, event: Any, merges: list[Any], value: Any) -> None:
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            raise self.fault(event, "<< takes a mapping or a list of mappings")
        merges.extend(sources)

    def partial(self) -> Any:
        """The document as far as it was read."""
        for inner, outer in zip(reversed(self.stack[1:]), reversed(self.stack[:-1]), strict=True):
            if outer.is_map and outer.keyed and not outer.merging:
                outer.value[outer.key] = inner.value
        return self.stack[0].value if self.stack else self.root


def compose(text: str, line: int, budget: Budget) -> Any:
    """The data of the one document in `text`, which begins on `line` (from 0) of its file; None when it is empty."""
    composer = _Composer(budget, line)
    try:
        for event in events(text, line):
            composer.feed(event)
    except Malformed as fault:
        fault.partial = composer.partial()
        raise
    return composer.root


def events(text: str, line: int) -> Iterator[Any]:
    """What libyaml sees in `text`. Raises Malformed with the place in the file."""
    try:
        yield from yaml.parse(text, yaml.CSafeLoader)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        why = " ".join(filter(None, (fault.problem, fault.context)))
        raise Malformed(
            f"not YAML: {why}", line + mark.line + 1 if mark else line + 1, mark.column + 1 if mark else 0
        ) from None
    except yaml.YAMLError as fault:
        raise Malformed(f"not YAML: {str(fault).splitlines()[0]}", line + 1, 1) from None


def _scalar(composer: _Composer, event: Any) -> Scalar:
    tag = event.tag
    if tag is None or (tag == "!" and not event.implicit[0]):
        value = resolve(event.value) if event.implicit[0] else event.value
    else:
        value = _tagged(composer, event, tag.removeprefix(_TAGS))
    if type(value) is float and not math.isfinite(value):
        raise composer.fault(event, f"{event.value} is no number that JSON has")
    return value


def _tagged(composer: _Composer, event: Any, tag: str) -> Scalar:
    if tag in ("str", "!"):
        text: str = event.value
        return text
    if tag == "binary":
        try:
            return base64.b64decode("".join(event.value.split()), validate=True).decode()
        except ValueError:  # not base64, or not of UTF-8 text
            raise composer.fault(event, "!!binary is not base64 of text") from None
    value = resolve(event.value)
    if tag not in _TYPES:
        raise composer.fault(event, f"the tag {event.tag[:64]} is not read: leave it out")
    if not isinstance(value, _TYPES[tag]) or (isinstance(value, bool) and tag != "bool"):
        raise composer.fault(event, f"{event.value[:64]} is no {tag}")
    return value


def key_of(value: Any) -> str | None:
    """A key as JSON has it: kubectl turns numbers and truth into text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else None
