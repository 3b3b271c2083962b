"""One Secret in a file of manifests, edited in place: entries set and taken out, everything else left as it stands.

Asked by `cli/key_store`. Only what was surely understood is changed: the result is read again, and unless the Secret
then says exactly what it should, and nothing else in the file has changed, nothing comes of it.
"""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from sidewinder_operator.local.manifest import Entry, Manifest, parse
from sidewinder_operator.problems import Reference
from sidewinder_operator.resources.core import Secret

STRINGS = "stringData"


class Uneditable(Exception):
    """The file cannot be edited safely; says why, and what to do instead."""


def find(manifest: Manifest, reference: Reference) -> Secret | None:
    """The Secret in the file, if it is there."""
    entry = _entry(manifest, reference)
    return entry.found if entry is not None and isinstance(entry.found, Secret) else None


def entries(secret: Secret) -> dict[str, str]:
    """What it says, as text."""
    names = sorted({*secret.data, *secret.string_data})
    return {name: (secret.value(name) or b"").decode("utf-8", "replace") for name in names}


def new(reference: Reference, values: Mapping[str, str]) -> str:
    """A file with such a Secret."""
    head = "apiVersion: v1\nkind: Secret\n"
    where = f"metadata:\n  name: {reference.name}\n  namespace: {reference.namespace}\n"
    return head + where + f"{STRINGS}:\n" + "".join(f"  {_line(name, value)}\n" for name, value in values.items())


def edit(manifest: Manifest, reference: Reference, changes: Mapping[str, str | None]) -> str:
    """The file's text after these changes; None takes an entry out. Raises Uneditable."""
    entry = _entry(manifest, reference)
    if entry is None or not isinstance(entry.found, Secret):
        raise Uneditable(
            f"{manifest.name}: {reference} is not there, or cannot be read: `sidewinder validate` says why"
        )
    if entry.prefix or manifest.name.endswith(".json") or manifest.text.lstrip()[:1] == "{":
        raise Uneditable(f"{manifest.name}: {reference} must stand in YAML, in a document of its own")
    document = entry.document
    text = manifest.text[document.start : document.end]
    for name, value in changes.items():
        text = _without(text, name)
        if value is not None:
            text = _with(text, name, value)
    whole = manifest.text[: document.start] + text + manifest.text[document.end :]
    wanted = {**entries(entry.found), **{name: value for name, value in changes.items() if value is not None}}
    wanted = {name: value for name, value in wanted.items() if changes.get(name, "") is not None}
    _prove(manifest, whole, reference, wanted)
    return whole


def _entry(manifest: Manifest, reference: Reference) -> Entry | None:
    return next((entry for entry in manifest.entries if entry.reference == reference), None)


def _prove(before: Manifest, text: str, reference: Reference, wanted: dict[str, str]) -> None:
    """Raises Uneditable unless the Secret says that now, and everything else what it said."""
    after = parse(before.name, text.encode())
    found = find(after, reference)
    others = [(entry.reference, entry.found) for entry in after.entries if entry.reference != reference]
    same = [(entry.reference, entry.found) for entry in before.entries if entry.reference != reference]
    if found is None or entries(found) != wanted or others != same:
        raise Uneditable(
            f"{before.name}: {reference} is written in a way that cannot be edited: write a line for each entry"
        )


def _mappings(text: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """The document's `data` and `stringData`: their keys' nodes and their values'."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        raise Uneditable("the document cannot be read") from None
    if not isinstance(root, yaml.MappingNode):
        raise Uneditable("the document is no mapping")
    return {key.value: (key, value) for key, value in root.value if key.value in ("data", STRINGS)}


def _without(text: str, name: str) -> str:
    """The document without that entry, wherever it stands."""
    for _, mapping in _mappings(text).values():
        if not isinstance(mapping, yaml.MappingNode):
            continue
        for key, value in mapping.value:
            if key.value == name:
                if mapping.flow_style:
                    raise Uneditable(f"write a line for each entry instead of {{{name}: …}}")
                lines = text.splitlines(keepends=True)
                end = value.end_mark.line + (value.end_mark.column > 0)
                return _without("".join([*lines[: key.start_mark.line], *lines[end:]]), name)
    return text


def _with(text: str, name: str, value: str) -> str:
    """The document with one entry more, first in `stringData`."""
    found = _mappings(text).get(STRINGS)
    lines = text.splitlines(keepends=True)
    if found is None:
        last = "" if not lines or lines[-1].endswith("\n") else "\n"
        return f"{text}{last}{STRINGS}:\n  {_line(name, value)}\n"
    key, mapping = found
    if isinstance(mapping, yaml.MappingNode) and mapping.value:
        if mapping.flow_style:
            raise Uneditable(f"write a line for each entry of {STRINGS} instead of {{…}}")
        first = mapping.value[0][0].start_mark
        lines.insert(first.line, " " * first.column + _line(name, value) + "\n")
        return "".join(lines)
    at = key.start_mark.line  # it holds nothing: `stringData:` or `stringData: {}`
    lines[at] = f"{' ' * key.start_mark.column}{STRINGS}:\n{' ' * (key.start_mark.column + 2)}{_line(name, value)}\n"
    return "".join(lines)


def _line(name: str, value: str) -> str:
    """In single quotes, where nothing but they themselves mean anything."""
    return f"{name}: '{value.replace(chr(39), chr(39) * 2)}'"
