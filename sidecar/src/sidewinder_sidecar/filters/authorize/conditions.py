"""What else must hold (`when`): from a request's claims and headers to the entries that they meet. Used by `engine`.

All conditions on one claim, or on one header, are one table: its values are looked up, not compared one by one. An
entry with two conditions on the same name has the second in a second table.

A header's condition of an Allow holds only if all fields of that name agree, one of a Deny if any does, and a value
that a list hides counts against the caller: what an application makes of several is not known. NotIn means "there, and
none of these" for an Allow, and "not one of these" for a Deny.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from sidewinder_sidecar.claims import find, texts
from sidewinder_sidecar.snapshot.authorization import WhenSpec

if TYPE_CHECKING:
    from sidewinder_sidecar.messages import Call

MOST_MEMBERS: Final = 128  # of a header's list: a longer one is not searched, and held to have whatever is asked for
WORDS: Final = frozenset({"scope", "scp"})  # RFC 8693 section 4.2: one text, its words are the members
_NONE: Final[dict[str, Any]] = {}


class Table:
    """Conditions on one name, one of each entry at most."""

    __slots__ = (
        "_absent", "_allows", "_claim", "_exists", "_header", "_in", "_not_in", "_others", "_values", "members", "name",
    )  # fmt: skip

    def __init__(self, spec: WhenSpec) -> None:
        self.members = 0
        self.name = spec.claim or spec.header
        self._claim = spec.claim
        self._header = b"" if spec.claim else spec.header.lower().encode()
        self._values: dict[bytes, int] = {}
        self._in = self._not_in = self._exists = self._absent = self._allows = self._others = 0

    def add(self, bit: int, spec: WhenSpec, allows: bool) -> None:
        """One more entry's condition."""
        self.members |= bit
        self._allows |= bit if allows else 0
        if spec.operator == "Exists":
            self._exists |= bit
        elif spec.operator == "NotExists":
            self._absent |= bit
        elif spec.operator == "In":
            self._in |= bit
        else:
            self._not_in |= bit
        for value in spec.values:
            key = value.encode()
            self._values[key] = self._values.get(key, 0) | bit

    def seal(self, everything: int) -> None:
        """All are in."""
        self._others = everything & ~self.members

    def entries(self, call: Call) -> int:
        """Those that hold, or do not ask."""
        return self._by_claim(call) if self._claim else self._by_header(call)

    def _by_claim(self, call: Call) -> int:
        attributes = call.attributes
        claims: Mapping[str, Any] = _NONE if attributes is None else attributes.get("claims") or _NONE
        value = find(claims, self._claim)
        if value is None:
            return self._missing()
        words = value.split() if isinstance(value, str) and self._claim in WORDS else texts(value)
        hit = 0
        for word in words:
            hit |= self._values.get(word.encode("utf-8", "surrogatepass"), 0)
        return self._others | self._exists | (hit & self._in) | (self._not_in & ~hit)

    def _by_header(self, call: Call) -> int:
        fields = call.request.fields
        if self._header not in fields.index:
            return self._missing()
        some, every = 0, -1
        for line in fields.all(self._header):
            hit = self._values.get(line, 0)
            every &= hit
            some |= hit
            if b"," in line:
                some |= self._within(line)
        allows = self._allows
        found = self._others | self._exists
        found |= self._in & ((every & allows) | (some & ~allows))
        return found | (self._not_in & ((~some & allows) | (~every & ~allows)))

    def _within(self, line: bytes) -> int:
        if line.count(b",") >= MOST_MEMBERS:
            return self.members
        hit = 0
        for member in line.split(b","):
            hit |= self._values.get(member.strip(), 0)
        return hit

    def _missing(self) -> int:
        return self._others | self._absent | (self._not_in & ~self._allows)


class Conditions:
    """`add` all entries, `seal`, then ask the tables."""

    __slots__ = ("_tables", "tables")

    def __init__(self) -> None:
        self._tables: dict[tuple[str, str, int], Table] = {}
        self.tables: tuple[Table, ...] = ()

    def add(self, bit: int, specs: tuple[WhenSpec, ...], allows: bool) -> None:
        """One more entry."""
        counts: dict[tuple[str, str], int] = {}
        for spec in specs:
            name = (spec.claim, spec.header.lower())
            turn = counts.get(name, 0)
            counts[name] = turn + 1
            key = (name[0], name[1], turn)
            if (table := self._tables.get(key)) is None:
                table = self._tables[key] = Table(spec)
            table.add(bit, spec, allows)

    def seal(self, everything: int) -> None:
        """All are in."""
        for table in self._tables.values():
            table.seal(everything)
        self.tables = tuple(self._tables.values())
        self._tables = {}
