"""What is called: from method, host and path to the entries whose `to` holds, as bits. Used by `engine`.

Every answer is worked out when the rules are read, for each method, host and path that one of them names; a request
looks up the longest prefix that is there, as the router does. A rule asks for nothing twice, so nothing is searched.

What cannot be known is held against the caller: of a request without a Host or without a path an Allow that asks for
it does not take it, a Deny does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sidewinder_sidecar.snapshot.authorization import PathCondition, ToSpec

MOST_HOSTS: Final = 1024  # authorities whose answer is kept: callers can send any
LONGEST_HOST: Final = 261  # of those: a name of 255 characters, a colon and a port


class Pair:
    """Bits that ask for a value, and bits that ask for anything but it."""

    __slots__ = ("no", "yes")

    def __init__(self, yes: int = 0, no: int = 0) -> None:
        self.yes = yes
        self.no = no

    def union(self, other: Pair) -> Pair:
        """What either asks."""
        return Pair(self.yes | other.yes, self.no | other.no)


class Asked:
    """Values of one kind with the bits that ask for them; `positive` and `negative` are all that ask at all."""

    __slots__ = ("negative", "positive", "values")

    def __init__(self) -> None:
        self.positive = self.negative = 0
        self.values: dict[bytes, Pair] = {}

    def add(self, bit: int, yes: Iterable[bytes], no: Iterable[bytes]) -> None:
        """One more entry; without a value it asks nothing."""
        for value in yes:
            self.positive |= bit
            self._pair(value).yes |= bit
        for value in no:
            self.negative |= bit
            self._pair(value).no |= bit

    def _pair(self, value: bytes) -> Pair:
        if (pair := self.values.get(value)) is None:
            pair = self.values[value] = Pair()
        return pair

    def met(self, hit: Pair, everything: int) -> int:
        """The entries that hold of something with these hits."""
        return (hit.yes | (everything & ~self.positive)) & ~hit.no

    def unknown(self, everything: int, allows: int) -> int:
        """The entries that hold of what cannot be known."""
        return everything & ~((self.positive | self.negative) & allows)


_NO_HIT: Final = Pair()


class Methods:
    """`table` by method; `other` of those that no rule names."""

    __slots__ = ("asked", "other", "table")

    def __init__(self) -> None:
        self.asked = Asked()
        self.table: dict[bytes, int] = {}
        self.other = 0

    def add(self, bit: int, spec: ToSpec) -> None:
        """One more entry."""
        self.asked.add(bit, _encoded(spec.methods), _encoded(spec.not_methods))

    def seal(self, everything: int) -> bool:
        """All are in. Does any ask?"""
        asked = self.asked
        self.table = {value: asked.met(pair, everything) for value, pair in asked.values.items()}
        self.other = asked.met(_NO_HIT, everything)
        return bool(asked.values)


class Hosts:
    """Names compare without case, port and last dot. `*.` stands for one label or more."""

    __slots__ = ("_allows", "_everything", "_kept", "asked")

    def __init__(self) -> None:
        self.asked = Asked()
        self._everything = self._allows = 0
        self._kept: dict[bytes, int] = {}

    def add(self, bit: int, spec: ToSpec) -> None:
        """One more entry."""
        self.asked.add(bit, map(host_key, spec.hosts), map(host_key, spec.not_hosts))

    def seal(self, everything: int, allows: int) -> bool:
        """All are in. Does any ask?"""
        self._everything, self._allows = everything, allows
        return bool(self.asked.values)

    def entries(self, authority: bytes) -> int:
        """Those that hold of a request for it."""
        if (known := self._kept.get(authority)) is not None:
            return known
        if len(self._kept) >= MOST_HOSTS:
            self._kept.clear()
        found = self._judge(hostname(authority))
        if len(authority) <= LONGEST_HOST:
            self._kept[authority] = found
        return found

    def _judge(self, host: bytes) -> int:
        if not host:
            return self.asked.unknown(self._everything, self._allows)
        values = self.asked.values
        hit = _NO_HIT if host[:1] == b"." else values.get(host, _NO_HIT)  # with a dot it would be a wildcard's key
        dot = host.find(b".", 1)
        while dot > 0:
            if (pair := values.get(host[dot:])) is not None:
                hit = hit.union(pair)
            dot = host.find(b".", dot + 1)
        return self.asked.met(hit, self._everything)


class Paths:
    """Exact paths and prefixes by element. What holds below the longest prefix that is there was worked out before."""

    __slots__ = ("_exact", "_lengths", "_longest", "_other", "_pathless", "_prefixes", "exact", "prefixes")

    def __init__(self) -> None:
        self.exact = Asked()
        self.prefixes = Asked()  # without the last slash; "/" is b""
        self._exact: dict[bytes, int] = {}
        self._prefixes: dict[bytes, int] = {}
        self._lengths: frozenset[int] = frozenset()
        self._longest = 0
        self._other = self._pathless = 0

    def add(self, bit: int, spec: ToSpec) -> None:
        """One more entry."""
        self.exact.add(bit, _exact(spec.paths), _exact(spec.not_paths))
        self.prefixes.add(bit, _prefixes(spec.paths), _prefixes(spec.not_paths))

    def seal(self, everything: int, allows: int) -> bool:
        """All are in. Does any ask?"""
        exact, prefixes = self.exact.values, self.prefixes.values
        if not exact and not prefixes:
            return False
        asking = self.exact.positive | self.prefixes.positive
        self._lengths = frozenset(map(len, prefixes))
        self._longest = max(self._lengths, default=0)
        below = {key: self._above(key) for key in prefixes}
        self._prefixes = {key: _met(pair, asking, everything) for key, pair in below.items()}
        for path, pair in exact.items():
            self._exact[path] = _met(pair.union(self._above(path)), asking, everything)
        self._other = _met(_NO_HIT, asking, everything)
        # `OPTIONS *` and CONNECT: what takes every path takes them too, anything else is not known.
        whole = prefixes.get(b"", _NO_HIT)
        excluding = self.exact.negative | self.prefixes.negative
        self._pathless = (everything & ~((asking | excluding) & allows)) | (whole.yes & ~(excluding & allows))
        return True

    def _above(self, path: bytes) -> Pair:
        """All prefixes that hold of a path, itself among them."""
        found, cut = _NO_HIT, len(path)
        while cut >= 0:
            if cut in self._lengths and (pair := self.prefixes.values.get(path[:cut])) is not None:
                found = found.union(pair)
            cut = path.rfind(b"/", 0, cut)
        return found

    def entries(self, path: bytes) -> int:
        """Those that hold of a request for it."""
        if (found := self._exact.get(path)) is not None:
            return found
        if path[:1] != b"/":
            return self._pathless
        prefixes, lengths = self._prefixes, self._lengths
        cut = len(path)
        if cut > self._longest:
            cut = path.rfind(b"/", 0, self._longest + 1)
        while cut >= 0:
            if cut in lengths and (found := prefixes.get(path[:cut])) is not None:
                return found
            cut = path.rfind(b"/", 0, cut)
        return self._other


def _met(hit: Pair, asking: int, everything: int) -> int:
    return (hit.yes | (everything & ~asking)) & ~hit.no


def _encoded(words: Iterable[str]) -> Iterable[bytes]:
    return [word.encode() for word in words]


def _exact(paths: Iterable[PathCondition]) -> Iterable[bytes]:
    return [path.value.encode() for path in paths if path.type == "Exact"]


def _prefixes(paths: Iterable[PathCondition]) -> Iterable[bytes]:
    return [path.value.rstrip("/").encode() for path in paths if path.type == "PathPrefix"]


def host_key(host: str) -> bytes:
    """What a condition's host is kept under: a wildcard by what follows the star, with its dot."""
    return host.lower().removeprefix("*").rstrip(".").encode()


def hostname(authority: bytes) -> bytes:
    """The host of `host[:port]`, lower case, without the dot that may end it; b"" where there is none."""
    host = authority
    if authority[-1:] != b"]" and (colon := authority.rfind(b":")) >= 0:
        host = authority[:colon]
    return host.lower().rstrip(b".")
