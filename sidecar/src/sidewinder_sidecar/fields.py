"""Header fields that keep order, case and repetition. Made by the codecs, read by everybody, edited by filters.

Edits do not touch what was received: they are a set of dropped names and a list of added rows, so that an unedited
message
of the same protocol can forward its source bytes, and a retry can set the same field again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

Row: TypeAlias = tuple[bytes, bytes, bytes]  # lower-case name, name as written, value
_NOTHING: Final[frozenset[bytes]] = frozenset()


class Fields:
    """`rows` as received; `added` and `dropped` as edited; `source` belongs to the codec that made it (or None)."""

    __slots__ = ("added", "dropped", "index", "rows", "source")

    def __init__(self, rows: list[Row], source: bytes | None = None, index: dict[bytes, bytes] | None = None) -> None:
        """`rows` are never changed in place, so several may share them; a known `index` is taken as it is."""
        self.rows = rows
        self.source = source
        self.dropped: frozenset[bytes] = _NOTHING
        self.added: list[Row] = []
        if index is None:
            index = {}
            for row in reversed(rows):  # a loop: a comprehension costs a call before Python 3.12
                index[row[0]] = row[2]
        self.index = index  # first value of each name; a repeated field's others are in all()

    def get(self, name: bytes) -> bytes | None:
        """The first value of a lower-case name."""
        return self.index.get(name)

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a lower-case name, in order."""
        if name not in self.index:
            return []
        kept = [] if name in self.dropped else [row[2] for row in self.rows if row[0] == name]
        return kept + [row[2] for row in self.added if row[0] == name] if self.added else kept

    def __contains__(self, name: bytes) -> bool:
        return name in self.index

    def __iter__(self) -> Iterator[Row]:
        """Rows as they will be sent."""
        if self.dropped:
            yield from (row for row in self.rows if row[0] not in self.dropped)
        else:
            yield from self.rows
        yield from self.added

    def add(self, lower: bytes, name: bytes, value: bytes) -> None:
        """Append a field; one that is there already stays."""
        self.added.append((lower, name, value))
        self.index.setdefault(lower, value)

    def set(self, lower: bytes, name: bytes, value: bytes) -> None:
        """Replace all fields of that name by one."""
        if lower in self.index:
            self.remove(lower)
        self.added.append((lower, name, value))
        self.index[lower] = value

    def remove(self, lower: bytes) -> None:
        """Take all fields of that name away."""
        if self.index.pop(lower, None) is None:
            return
        self.dropped |= {lower}
        if self.added:
            self.added = [row for row in self.added if row[0] != lower]

    def __repr__(self) -> str:
        """Names only: values may be secret."""
        return f"<Fields {' '.join(row[1].decode('latin-1') for row in self)}>"


def fields(*pairs: tuple[bytes, bytes]) -> Fields:
    """Fields of (name, value) pairs."""
    return Fields([(name.lower(), name, value) for name, value in pairs])
