"""What the machinery knows of a section, and what holds where. `attachment` fills it, for all sections.

Where a section acts, how it merges and what it may target stand with its written type (`resources.section`); a `Row`
adds how it is read and what it means. All rows are in `registry`; nothing here or in `attachment` names one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.problems import Reference
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.policy import ApiPolicy
from sidewinder_operator.resources.section import Section


class Scope(NamedTuple):
    """What a section is attached to. `part`: a Service's port, a Gateway's listener, an ApiRoute's rule, by name."""

    kind: str
    namespace: str = ""
    name: str = ""
    part: str = ""

    def __str__(self) -> str:
        path = "/".join(word for word in (self.namespace, self.name) if word)
        return f"{self.kind} {path}".rstrip() + (f" ({self.part})" if self.part else "")


class Fault(NamedTuple):
    """A mistake that only several objects together show. `field` is relative to what was being judged."""

    field: str
    reason: str
    message: str


Built: TypeAlias = tuple[Any, tuple[Fault, ...]]  # the section as meant (None where a fault forbids it) and the faults


def read_spec(name: str) -> Callable[[ApiPolicy], Section | None]:
    """How a section is found in a policy: in spec, by its name."""
    return lambda policy: policy.sections().get(name)


class Row(NamedTuple):
    """One section: its name as written, its written type, and its verbs."""

    name: str
    written: type[Section]
    read: Callable[[ApiPolicy], Section | None]
    build: Callable[[Any, Cluster, str], Built]  # as written, where names are looked up, the policy's namespace
    combine: Callable[[Any, Any], Any] | None = None  # Minimum only: the smaller of two, field by field
    # What was built last serves on when what the section names breaks. Never of one that holds what can be revoked.
    keeps: bool = False

    @property
    def client(self) -> bool:
        """Does it act in the caller's proxy?"""
        return self.written.SIDE == "Client"


class Applied(NamedTuple):
    """A section that holds on a scope. `closed`: why the scope refuses traffic instead."""

    value: Any
    origin: Origin
    closed: str = ""


Kept: TypeAlias = Mapping[tuple[Reference, str], Any]  # policy and section → what was built of it last


class Attachments(NamedTuple):
    """Section's name → scope → who won there: one for Replace, all (oldest first) for the others."""

    table: Mapping[str, Mapping[Scope, tuple[Applied, ...]]]

    def on(self, row: Row, scope: Scope) -> tuple[Applied, ...]:
        """What is attached to exactly this scope."""
        return self.table.get(row.name, {}).get(scope, ())

    def effective(self, row: Row, chain: Iterable[Scope]) -> tuple[Applied, ...]:
        """What holds at the end of a chain of scopes that goes from least to most specific."""
        return _MERGES[row.written.MERGING](row, [found for scope in chain for found in self.on(row, scope)])

    def kept(self, rows: Iterable[Row]) -> Kept:
        """What serves on should it break."""
        return {
            (applied.origin.reference, row.name): applied.value
            for row in rows
            if row.keeps
            for held in self.table.get(row.name, {}).values()
            for applied in held
            if not applied.closed
        }

    def any_on(self, rows: Iterable[Row], scope: Scope) -> bool:
        """Is at least one of the sections attached to exactly this scope?"""
        return any(scope in self.table.get(row.name, ()) for row in rows)


def _replace(_: Row, found: list[Applied]) -> tuple[Applied, ...]:
    return tuple(found[-1:])


def _add(_: Row, found: list[Applied]) -> tuple[Applied, ...]:
    return tuple(found)


def _minimum(row: Row, found: list[Applied]) -> tuple[Applied, ...]:
    if len(found) < 2 or row.combine is None:
        return tuple(found)
    value = found[0].value
    for applied in found[1:]:
        value = row.combine(value, applied.value)
    return tuple(Applied(value, applied.origin) for applied in found)


_MERGES: Mapping[str, Callable[[Row, list[Applied]], tuple[Applied, ...]]] = {
    "Replace": _replace,
    "Add": _add,
    "Minimum": _minimum,
}


def service_chain(namespace: str, name: str, port: str) -> tuple[Scope, ...]:
    """The levels above a Service's port, least specific first. A port without a name has no level of its own."""
    levels = (Scope("Mesh"), Scope("Namespace", namespace), Scope("Service", namespace, name))
    return (*levels, Scope("Service", namespace, name, port)) if port else levels


def route_chain(namespace: str, name: str, rule: str) -> tuple[Scope, ...]:
    """The two levels that a route adds to its backend's chain."""
    return Scope("ApiRoute", namespace, name), Scope("ApiRoute", namespace, name, rule)
