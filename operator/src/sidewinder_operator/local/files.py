"""Manifests on disk become a Cluster: what kubectl would apply from these files and folders, and what is wrong with it.

`sidewinder up`, `validate` and `check` call `Manifests.load`, as often as files change; a file whose bytes are the same
is not read again. Of a folder, `*.yaml`, `*.yml` and `*.json` count, not what lies deeper and no hidden files. One
broken document never stops the others. Bounds: 16 MiB a file, 64 MiB in all.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sidewinder_operator.local.manifest import Entry, Manifest, parse
from sidewinder_operator.problems import Place, Problem, Reference
from sidewinder_operator.resources import Cluster, gather

LARGEST_FILE = 16 << 20  # bytes; 10 000 routes are 7 MiB
LARGEST_SUM = 64 << 20
SUFFIXES = (".yaml", ".yml", ".json")
MOST_FILES = 10_000


def load(paths: Sequence[str | Path]) -> tuple[Cluster, list[Problem]]:
    """Everything in these files and folders, once."""
    return Manifests(paths).load()


class Manifests:
    """The files and folders that a user named, and what was last seen there."""

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self.paths = [Path(path) for path in paths]
        self._manifests: dict[Path, Manifest] = {}  # of the last load
        self._entries: dict[Reference, Entry] = {}  # of the last load
        self._held: dict[Path, tuple[Path, frozenset[Reference]]] = {}  # file → named path, objects last known there

    def load(self) -> tuple[Cluster, list[Problem]]:
        """What the files say now. Objects that are there and cannot be read are in the Cluster's `broken`."""
        problems: list[Problem] = []
        manifests: dict[Path, Manifest] = {}
        lost: set[Path] = set()  # named paths and files that cannot be read: nothing of them counts as deleted
        room = LARGEST_SUM
        for root, file in self._files(problems, lost):
            try:
                raw = _content(file, room)
            except (OSError, ValueError) as fault:
                problems.append(_unreadable(file, fault))
                lost.add(file)
                continue
            room -= len(raw)
            known = self._manifests.get(file)
            manifests[file] = known if known is not None and known.raw == raw else parse(str(file), raw)
            self._held[file] = (root, self._known(file, manifests[file]))
        self._manifests = manifests
        problems += [problem for manifest in manifests.values() for problem in manifest.problems]
        entries = [entry for manifest in manifests.values() for entry in manifest.entries]
        return self._cluster(entries, lost, problems), sorted(problems, key=_order)

    def wrecks(self) -> dict[Reference, Any]:
        """What is legible of the broken objects of the last load (a security policy among them closes its scope)."""
        return {reference: entry.raw for reference, entry in self._entries.items() if entry.found is None}

    def watched(self) -> list[Path]:
        """The folders in which a change may mean something."""
        return sorted({path if path.is_dir() else path.parent for path in self.paths})

    def place(self, reference: Reference, field: str = "") -> Place | None:
        """Where a field of an object of the last load stands, or what is nearest around it."""
        entry = self._entries.get(reference)
        return entry.manifest.places([(entry, field)])[reference, field] if entry is not None else None

    def placed(self, problems: Iterable[Problem]) -> list[Problem]:
        """The same problems, each with its place where the object is from a file (for what compile finds)."""
        found = list(problems)
        wanted: dict[tuple[str, int], list[tuple[Entry, str]]] = {}  # by document, for each is read but once
        for problem in found:
            if problem.place is None and (entry := self._entries.get(problem.reference)) is not None:
                wanted.setdefault((entry.manifest.name, entry.document.start), []).append((entry, problem.field))
        places: dict[tuple[Reference, str], Place] = {}
        for asked in wanted.values():
            places |= asked[0][0].manifest.places(asked)
        return [_with_place(problem, places.get((problem.reference, problem.field))) for problem in found]

    def _known(self, file: Path, manifest: Manifest) -> frozenset[Reference]:
        now = frozenset(entry.reference for entry in manifest.entries)
        before = self._held.get(file, (file, frozenset()))[1]
        return now | before if manifest.blind else now

    def _files(self, problems: list[Problem], lost: set[Path]) -> list[tuple[Path, Path]]:
        found: dict[str, tuple[Path, Path]] = {}  # by real path: what is named twice counts once
        for root in self.paths:
            try:
                files = _folder(root) if stat.S_ISDIR(root.stat().st_mode) else [root]
            except OSError as fault:
                problems.append(_unreadable(root, fault))
                lost.add(root)
                continue
            for file in files[:MOST_FILES]:
                found.setdefault(os.path.realpath(file), (root, file))
            if not files or len(files) > MOST_FILES:
                problems.append(_unusual(root, len(files)))
        return list(found.values())

    def _cluster(self, entries: list[Entry], lost: set[Path], problems: list[Problem]) -> Cluster:
        by_reference: dict[Reference, list[Entry]] = {}
        for entry in entries:
            by_reference.setdefault(entry.reference, []).append(entry)
        self._entries = {reference: found[0] for reference, found in by_reference.items()}
        broken = {entry.reference for entry in entries if entry.found is None}
        for reference, found in by_reference.items():
            if len(found) > 1:
                broken.add(reference)
                problems += [_twice(entry, found) for entry in found]
        for file, (root, references) in list(self._held.items()):
            manifest = self._manifests.get(file)
            if file in lost or root in lost or (manifest is not None and manifest.blind):
                broken |= references - by_reference.keys()
            elif manifest is None:
                del self._held[file]
        good = [entry.found for entry in entries if entry.found is not None and entry.reference not in broken]
        return gather(good, broken)


def _with_place(problem: Problem, place: Place | None) -> Problem:
    return problem if place is None else msgspec.structs.replace(problem, place=place)


def _folder(root: Path) -> list[Path]:
    return sorted(
        entry
        for entry in root.iterdir()
        if entry.suffix in SUFFIXES and not entry.name.startswith(".") and not entry.is_dir()
    )


def _content(file: Path, room: int) -> bytes:
    # A pipe or a device would block or never end; O_NONBLOCK lets its open return, so that it can be told.
    handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as opened:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("is not a regular file")
        raw = opened.read(LARGEST_FILE + 1)
    if len(raw) > LARGEST_FILE:
        raise ValueError(f"is larger than {LARGEST_FILE >> 20} MiB: divide it")
    if len(raw) > room:
        raise ValueError(f"is one too many: all files together are larger than {LARGEST_SUM >> 20} MiB")
    return raw


def _unreadable(file: Path, fault: Exception) -> Problem:
    reason = (os.strerror(fault.errno or errno.EIO)).lower() if isinstance(fault, OSError) else str(fault)
    return Problem(
        reference=Reference("File", "", str(file)),
        field="",
        reason="Unreadable",
        message=f"{file}: {reason}" if isinstance(fault, OSError) else f"{file} {reason}",
        place=Place(str(file)),
    )


def _unusual(root: Path, count: int) -> Problem:
    many = count > MOST_FILES
    return Problem(
        reference=Reference("File", "", str(root)),
        field="",
        reason="TooMany" if many else "Empty",
        message=f"{count} files are too many: only the first {MOST_FILES} are read"
        if many
        else f"no {', '.join('*' + suffix for suffix in SUFFIXES)} in this folder",
        severity="Error" if many else "Warning",
        place=Place(str(root)),
    )


def _twice(entry: Entry, found: list[Entry]) -> Problem:
    others = ", ".join(str(other.place) for other in found[:5] if other is not entry)
    return Problem(
        reference=entry.reference,
        field="metadata.name",
        reason="Duplicate",
        message=f"{entry.reference} stands in more than one place: also in {others}",
        place=entry.place,
    )


def _order(problem: Problem) -> tuple[str, int, int, Reference, str, str]:
    place = problem.place or Place("")
    return place.file, place.line, place.column, problem.reference, problem.field, problem.message
