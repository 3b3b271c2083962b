"""How a broken object's last good version serves on.

An object is broken when it exists and cannot be read (`Cluster.broken`), or when one of its sections cannot be built.
`heal` puts the last good version in the broken one's place before anything else looks; `remember` says what is good.
Where the mapping is kept over a restart (a state file, a ControllerRevision) is the caller's: `dump` and `load` make
bytes of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

import msgspec

from sidewinder_operator.problems import Reference
from sidewinder_operator.resources import FIELDS, Cluster, Object
from sidewinder_operator.resources.core import ConfigMap, Secret

LastGood: TypeAlias = Mapping[Reference, Object]

# What is sensitive or large is never written to a state file; what depends on it says so when it is missing.
KEPT: dict[str, type[Object]] = {kind.KIND: kind for kind in FIELDS if kind not in (Secret, ConfigMap)}


def heal(cluster: Cluster, last_good: LastGood) -> tuple[Cluster, frozenset[Reference]]:
    """The cluster with the last good version of every broken object, and which those are."""
    added: dict[str, dict[tuple[str, str], Object]] = {}
    stale = set()
    for reference in sorted(cluster.broken):
        previous = last_good.get(reference)
        if previous is None:
            continue
        field = FIELDS[type(previous)]
        if previous.key not in getattr(cluster, field):
            added.setdefault(field, {})[previous.key] = previous
            stale.add(reference)
    changed: dict[str, Any] = {
        field: dict(sorted({**getattr(cluster, field), **found}.items())) for field, found in added.items()
    }
    return (msgspec.structs.replace(cluster, **changed) if changed else cluster), frozenset(stale)


def remember(healed: Cluster, last_good: LastGood, faulty: Collection[Reference]) -> dict[Reference, Object]:
    """What is good now. A faulty object leaves its last good version in place, and is kept itself only without one."""
    now: dict[Reference, Object] = {}
    for kind in KEPT.values():
        for found in getattr(healed, FIELDS[kind]).values():
            reference = found.reference
            now[reference] = last_good.get(reference, found) if reference in faulty else found
    return now


class _Kept(msgspec.Struct, frozen=True):
    """One line of the state: the kind says how to read the object."""

    kind: str
    object: msgspec.Raw


def dump(last_good: LastGood) -> bytes:
    """The mapping as JSON, one object a line, sorted."""
    lines = (
        _Kept(reference.kind, msgspec.Raw(msgspec.json.encode(last_good[reference])))
        for reference in sorted(last_good)
        if reference.kind in KEPT
    )
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def load(raw: bytes) -> dict[Reference, Object]:
    """The mapping of `dump`. A line that cannot be read (another version's, cut short) is forgotten, others count."""
    found: dict[Reference, Object] = {}
    for line in raw.splitlines():
        try:
            kept = msgspec.json.decode(line, type=_Kept)
            kind = KEPT.get(kept.kind)
            if kind is not None:
                thing = msgspec.json.decode(kept.object, type=kind)
                found[thing.reference] = thing
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return found
