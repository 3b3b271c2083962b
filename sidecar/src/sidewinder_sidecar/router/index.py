"""The routes of one service by path: what ten thousand of them cost is what ten cost.

An exact path is one lookup, a prefix one lookup for each depth at which there is any, expressions one pass over the
path for all of them. Within a path the order is the Gateway API's: method, number of headers, number of query
parameters, then the order of the routes and of their rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Final, TypeAlias

from sidewinder_sidecar.router import regex
from sidewinder_sidecar.snapshot.routes import ExactPath, PathSpec, PrefixPath, RegexPath

if TYPE_CHECKING:
    from sidewinder_sidecar.messages import Call
    from sidewinder_sidecar.router.conditions import Condition
    from sidewinder_sidecar.router.route import Route

ONE_BY_ONE: Final = 4  # expressions: up to here trying each is cheaper than asking the set first
FEW: Final = 8  # entries on one path that are tried in turn before it pays to look up a header's value instead

Rank: TypeAlias = tuple[int, int, int, int]  # without method, minus headers, minus query parameters, position


class Entry:
    """One match. `selector` is a header that must have exactly this value: (name, value), or None."""

    __slots__ = ("conditions", "method", "path", "pattern", "plain", "route", "selector", "specificity")

    def __init__(
        self,
        route: Route,
        path: PathSpec,
        method: bytes = b"",
        headers: Sequence[Condition] = (),
        query: Sequence[Condition] = (),
        selector: tuple[bytes, bytes] | None = None,
    ) -> None:
        self.route = route
        self.path = path
        self.method = method
        self.conditions = (*headers, *query)
        self.plain = not method and not self.conditions
        self.selector = selector
        self.pattern = regex.compile(path.value) if isinstance(path, RegexPath) else None
        self.specificity = (not method, -len(headers), -len(query))

    def accepts(self, call: Call) -> bool:
        """All but the path."""
        request = call.request
        if self.method and self.method != request.method:
            return False
        for condition in self.conditions:  # noqa: SIM110 (a generator costs more than the conditions)
            if not condition(request):
                return False
        return True

    def __repr__(self) -> str:
        return f"<Entry {type(self.path).__name__} {self.path.value} {self.specificity} {self.route!r}>"


class Bucket:
    """The entries of one path in order. With many that ask for different values of one header, that is looked up."""

    __slots__ = ("_entries", "_header", "_others", "_unsorted", "_values", "plain")

    def __init__(self) -> None:
        self._unsorted: list[tuple[Rank, Entry]] = []
        self._entries: list[Entry] = []
        self._header = b""
        self._values: dict[bytes, list[Entry]] = {}
        self._others: list[Entry] = []
        self.plain: Route | None = None  # of a bucket whose first entry asks for nothing more

    def add(self, ranked: tuple[Rank, Entry]) -> None:
        """One more, in any order."""
        self._unsorted.append(ranked)

    def seal(self) -> None:
        """All entries are in."""
        self._entries = in_order(self._unsorted)
        self._unsorted = []
        if self._entries[0].plain:
            self.plain = self._entries[0].route
        if len(self._entries) <= FEW:
            return
        names = [entry.selector[0] for entry in self._entries if entry.selector is not None]
        if not names:
            return
        header = max(sorted(set(names)), key=names.count)
        others = [entry for entry in self._entries if entry.selector is None or entry.selector[0] != header]
        if len(others) > FEW:
            return  # each value's list holds them all: with many it is no gain
        self._header = header
        self._others = others
        wanted = {entry.selector[1] for entry in self._entries if entry.selector and entry.selector[0] == header}
        self._values = {value: [] for value in wanted}
        for entry in self._entries:  # in order, so each list is
            if entry.selector is not None and entry.selector[0] == header:
                self._values[entry.selector[1]].append(entry)
            else:
                for chosen in self._values.values():
                    chosen.append(entry)

    def find(self, call: Call) -> Route | None:
        """The first that accepts."""
        entries = self._entries
        if self._header:
            entries = self._values.get(call.request.fields.index.get(self._header, b""), self._others)
        for entry in entries:
            if entry.plain or entry.accepts(call):
                return entry.route
        return None


class Index:
    """`add` all entries in order of precedence of their routes, `seal` once, then `find`."""

    __slots__ = ("_candidates", "_exact", "_expressions", "_lengths", "_longest", "_prefixes", "_unsorted")

    def __init__(self) -> None:
        self._exact: dict[bytes, Bucket] = {}
        self._prefixes: dict[bytes, Bucket] = {}  # without the last slash; "/" is b""
        self._expressions: list[Entry] = []
        self._unsorted: list[tuple[Rank, Entry]] = []
        self._lengths: frozenset[int] = frozenset()
        self._longest = 0
        self._candidates: regex.Candidates | None = None

    def add(self, entry: Entry, position: int) -> None:
        """`position` orders what is otherwise equal."""
        path = entry.path
        ranked = ((*entry.specificity, position), entry)
        if isinstance(path, RegexPath):
            self._unsorted.append(ranked)
            return
        table = self._exact if isinstance(path, ExactPath) else self._prefixes
        key = prefix_key(path) if isinstance(path, PrefixPath) else path.value.encode()
        if (bucket := table.get(key)) is None:
            bucket = table[key] = Bucket()
        bucket.add(ranked)

    def seal(self) -> Iterator[None]:
        """All entries are in: sort them. Yields between steps, for a caller that must not hold the loop."""
        for table in (self._exact, self._prefixes):
            for bucket in table.values():
                bucket.seal()
                yield
        self._lengths = frozenset(map(len, self._prefixes))
        self._longest = max(self._lengths, default=0)
        if self._unsorted:
            self._expressions = in_order(self._unsorted)
            self._unsorted = []
            if len(self._expressions) > ONE_BY_ONE:
                self._candidates = _candidates(self._expressions)

    def find(self, call: Call) -> Route | None:
        """The route of the most specific match; sets the call's captures."""
        path = call.request.path
        if (bucket := self._exact.get(path)) is not None and (route := bucket.find(call)) is not None:
            return route
        prefixes, lengths = self._prefixes, self._lengths
        cut = len(path)
        if cut > self._longest:
            cut = path.rfind(b"/", 0, self._longest + 1)
        while cut >= 0:
            if cut in lengths and (bucket := prefixes.get(path[:cut])) is not None:
                if (plain := bucket.plain) is not None:
                    return plain
                if (route := bucket.find(call)) is not None:
                    return route
            cut = path.rfind(b"/", 0, cut)
        if path == b"*" and (bucket := prefixes.get(b"")) is not None:
            return bucket.find(call)  # `OPTIONS *` asks about the whole server: what takes every path takes it
        return self._find_expression(path, call) if self._expressions else None

    def _find_expression(self, path: bytes, call: Call) -> Route | None:
        entries = self._expressions
        if self._candidates is not None:
            entries = [entries[number] for number in self._candidates.match(path)]
        for entry in entries:
            assert entry.pattern is not None
            if entry.accepts(call) and (found := entry.pattern.fullmatch(path)) is not None:
                call.captures = regex.captures(found)
                return entry.route
        return None


def prefix_key(path: PrefixPath) -> bytes:
    """By path element: a trailing slash means nothing."""
    return path.value.rstrip("/").encode()


def in_order(ranked: list[tuple[Rank, Entry]]) -> list[Entry]:
    """Entries by rank."""
    if len(ranked) > 1:
        ranked.sort(key=itemgetter(0))
    return [entry for _, entry in ranked]


def _candidates(entries: list[Entry]) -> regex.Candidates | None:
    try:
        return regex.Candidates([entry.path.value for entry in entries])
    except ValueError:  # too large together: then one by one, which is slower and right as well
        return None
