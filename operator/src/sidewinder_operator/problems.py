"""What is wrong with what users wrote, as data. Made by loaders and compile; printed by status, CLI and admission."""

from __future__ import annotations

import msgspec


class Reference(msgspec.Struct, frozen=True, order=True):
    """Which object: kind, namespace ("" for cluster-scoped ones) and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        path = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {path}"


class Place(msgspec.Struct, frozen=True, order=True):
    """Where in a file: 1-based line and column."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Problem(msgspec.Struct, frozen=True, order=True, kw_only=True):
    """One mistake. `field` is a path such as `spec.rules[0].backendRefs[1].port`; `message` says what would be right.

    `reason` is CamelCase and becomes a condition's reason. `severity` is Error (the object, or the part named, does not
    take effect) or Warning (it does; something is worth knowing). `section` names a policy's section, if one is meant.
    """

    reference: Reference
    field: str
    reason: str
    message: str
    severity: str = "Error"
    section: str = ""
    place: Place | None = None  # files only
