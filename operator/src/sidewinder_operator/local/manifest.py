"""One file: its documents, the objects in them, and what is wrong with both. `files` keeps one per file, by its bytes.

Documents are divided as kubectl divides them, at lines of just `---`, and each is read by itself: what is broken in one
does not reach the next. A file that begins with `{` is a stream of JSON objects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

import msgspec

from sidewinder_operator.local.document import Budget, Malformed, compose
from sidewinder_operator.local.locate import locate
from sidewinder_operator.problems import Place, Problem, Reference
from sidewinder_operator.resources import KINDS, Object
from sidewinder_operator.resources.read import read

MOST_TOLD = 100  # problems of one file; the rest are counted
DEEPEST_LIST = 8  # a List of Lists of …
_BETWEEN = re.compile(r"^---[ \t]*(?:#[^\n]*)?\r?$", re.MULTILINE)
# kubectl refuses a file in which anything but a comment stands behind the dashes.
_BESIDE = re.compile(r"^---(?![ \t]*(?:#[^\n]*)?\r?$)", re.MULTILINE)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_OURS = frozenset(kind for _, kind in KINDS)


class Document(NamedTuple):
    """A part of a file: from character `start` to `end`, beginning on `line` (from 0)."""

    start: int
    end: int
    line: int


class Entry(NamedTuple):
    """An object: `prefix` leads to it inside its document, when that is a List.

    `found` is None when it is broken; then `raw` is what is legible of it.
    """

    manifest: Manifest
    document: Document
    prefix: str
    reference: Reference
    found: Object | None
    place: Place
    raw: Any = None


class Manifest:
    """What stands in one file."""

    def __init__(self, name: str, raw: bytes) -> None:
        self.name = name
        self.raw = raw
        self.text = ""
        self.entries: list[Entry] = []
        self.problems: list[Problem] = []
        self.blind = False  # something is broken and cannot be named: what stood here before may still be meant

    def places(self, asked: Sequence[tuple[Entry, str]]) -> dict[tuple[Reference, str], Place]:
        """Where these fields of objects of one document stand."""
        found = self._located(asked[0][0].document, [_path(entry.prefix, field) for entry, field in asked])
        return {
            (entry.reference, field): Place(self.name, *found[_path(entry.prefix, field)]) for entry, field in asked
        }

    def _located(self, document: Document, fields: Iterable[str]) -> dict[str, tuple[int, int]]:
        return locate(self.text[document.start : document.end], document.line, fields)

    def tell(
        self, reason: str, message: str, *, line: int = 0, column: int = 0, about: Reference | None = None
    ) -> None:
        """Something is wrong that belongs to no field."""
        reference = about or Reference("File", "", self.name)
        severity = "Warning" if reason == "Empty" else "Error"
        self.blind |= about is None and severity == "Error"
        place = Place(self.name, line, column)
        self.problems.append(
            Problem(reference=reference, field="", reason=reason, message=message, severity=severity, place=place)
        )


def parse(name: str, raw: bytes) -> Manifest:
    """Reads a file's content. Never raises for what stands in it."""
    manifest = Manifest(name, raw)
    try:
        # Not `utf-8-sig`: it would count lines and bytes the same, but say so of a byte-order mark nowhere.
        manifest.text = raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as fault:
        line = raw.count(b"\n", 0, fault.start) + 1
        manifest.tell("Malformed", f"is not UTF-8 text: byte {fault.start} cannot be read", line=line)
        return manifest
    if (nul := manifest.text.find("\0")) >= 0:
        line = manifest.text.count("\n", 0, nul) + 1
        manifest.tell("Malformed", "is not text: there is a NUL in it", line=line)
        return manifest
    for document, data in _documents(manifest):
        _take(manifest, document, data)
    if not manifest.entries and not manifest.problems:
        manifest.tell("Empty", "nothing stands in this file")
    if (more := len(manifest.problems) - MOST_TOLD) > 0:
        manifest.problems = manifest.problems[:MOST_TOLD]
        manifest.tell("TooMany", f"{more} more problems in this file are not told", about=Reference("File", "", name))
    return manifest


def _take(manifest: Manifest, document: Document, data: Any) -> None:
    readings = [(prefix, raw, read(raw)) for prefix, raw in _flat(data, "", 0)]
    wrong = {_path(prefix, problem.field) for prefix, _, reading in readings for problem in reading.problems}
    starts = {prefix for prefix, _, _ in readings}
    places = manifest._located(document, wrong | starts) if wrong or len(readings) > 1 else {}
    for prefix, raw, reading in readings:
        at = Place(manifest.name, *places.get(prefix, (_first(manifest.text, document), 1)))
        for problem in reading.problems:
            where = Place(manifest.name, *places[_path(prefix, problem.field)])
            manifest.problems.append(msgspec.structs.replace(problem, place=where))
        if reading.found is not None:
            manifest.entries.append(Entry(manifest, document, prefix, reading.reference, reading.found, at))
        elif reading.refused and _named(reading.reference):
            manifest.entries.append(Entry(manifest, document, prefix, reading.reference, None, at, raw))
        elif reading.refused:
            manifest.blind = True


def _named(reference: Reference) -> bool:
    return bool(reference.name) and reference.kind in _OURS


def _path(prefix: str, field: str) -> str:
    return ".".join(filter(None, (prefix, field)))


def _first(text: str, document: Document) -> int:
    """The line on which something stands first, from 1: comments before an object are not the object."""
    line = document.line + 1
    for written in text[document.start : document.end].splitlines()[:200]:
        if written.strip() and not written.lstrip().startswith("#"):
            return line
        line += 1
    return document.line + 1


def _flat(raw: Any, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    """The objects of a document: itself, or the items of a List."""
    kind = str(raw.get("kind")) if isinstance(raw, dict) else ""
    items = raw.get("items") if kind.endswith("List") else None
    if not isinstance(items, list) or depth >= DEEPEST_LIST:
        yield prefix, raw
        return
    inherited = {"apiVersion": raw.get("apiVersion"), "kind": kind.removesuffix("List")} if kind != "List" else {}
    for index, item in enumerate(items):
        here = _path(prefix, f"items[{index}]")
        yield from _flat({**inherited, **item} if isinstance(item, dict) else item, here, depth + 1)


def _documents(manifest: Manifest) -> Iterator[tuple[Document, Any]]:
    if manifest.text.lstrip()[:1] == "{":
        try:
            yield from list(_json(manifest.text))
            return
        except Malformed as fault:
            if manifest.name.endswith(".json"):
                _broken(manifest, fault)
                return
    yield from _yaml(manifest)


def _yaml(manifest: Manifest) -> Iterator[tuple[Document, Any]]:
    budget = Budget()
    malformed = 0
    for document in _divided(manifest.text):
        text = manifest.text[document.start : document.end]
        try:
            if beside := _BESIDE.search(text):
                line = document.line + text.count("\n", 0, beside.start()) + 1
                raise Malformed("nothing but a comment may stand behind `---`", line, 4)
            data = compose(text, document.line, budget)
        except Malformed as fault:
            _broken(manifest, fault)
            malformed += 1
            if budget.spent or malformed > MOST_TOLD:
                return  # nothing more of this file is read
            continue
        if data is not None:
            yield document, data


def _divided(text: str) -> Iterator[Document]:
    start = line = 0
    for match in _BETWEEN.finditer(text):
        if text[start : match.start()].strip():
            yield Document(start, match.start(), line)
        line += text.count("\n", start, match.end())
        start = match.end()
    if text[start:].strip():
        yield Document(start, len(text), line)


def _broken(manifest: Manifest, fault: Malformed) -> None:
    """A document that cannot be read: whose it is can often be told from what stands before the fault."""
    about = None
    if isinstance(fault.partial, dict):
        reference = read(fault.partial).reference
        if _named(reference):
            about = reference
            document = Document(0, 0, max(fault.line - 1, 0))
            at = Place(manifest.name, fault.line, fault.column)
            manifest.entries.append(Entry(manifest, document, "", reference, None, at, fault.partial))
    manifest.tell("Malformed", str(fault), line=fault.line, column=fault.column, about=about)


def _json(text: str) -> Iterator[tuple[Document, Any]]:
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant, parse_float=_number)
    if text.count(",") + text.count("[") + text.count("{") > Budget().nodes:
        raise Malformed("the file has too many values: divide it")
    position, line = 0, 0
    while (start := _skip(text, position)) < len(text):
        line += text.count("\n", position, start)
        try:
            data, end = decoder.raw_decode(text, start)
            if _SURROGATE.search(text, start, end):
                json.dumps(data, ensure_ascii=False).encode()
        except json.JSONDecodeError as fault:
            raise Malformed(f"not JSON: {fault.msg}", fault.lineno, fault.colno) from None
        except RecursionError:
            raise Malformed("is nested too deeply", line + 1, 1) from None
        except UnicodeEncodeError:
            raise Malformed("half of a surrogate pair is not text", line + 1, 1) from None
        except Malformed as fault:
            compose(text[start:], line, Budget())  # it reads JSON too, and knows lines
            raise Malformed(str(fault), line + 1, 1) from None
        yield Document(start, end, line), data
        line += text.count("\n", start, end)
        position = end


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise Malformed(f"`{next(name for name in names if names.count(name) > 1)[:64]}` stands twice in one mapping")
    return found


def _constant(name: str) -> NoReturn:
    raise Malformed(f"{name} is no number that JSON has")


def _number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 1e21 else number
