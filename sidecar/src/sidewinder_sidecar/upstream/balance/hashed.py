"""What balancers by hash have in common: a table of places, one of which a key has, and the walk to the next.

The table is over all endpoints that a backend has, usable or not, in the same order in every proxy. Who cannot be used
is stepped over: its keys, and no others, go elsewhere, and come back with it. So the table stands while endpoints come
in and out of use, and is built anew, in steps, only when one is added, removed or weighted anew.

Bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018): nobody may have more than `balance_factor` percent of the mean of
what is in flight, by weight and rounded up; a key whose endpoint has that goes to the next that has not.

Zones: a key has a level as it has a place, by a draw of its own, and goes to the first endpoint of that level from its
place on. As a level's share grows or shrinks only the keys between the old share and the new one move.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Collection, Sequence
from hashlib import blake2b
from itertools import accumulate
from random import getrandbits
from typing import TYPE_CHECKING, Final, TypeAlias

from sidewinder_sidecar.upstream.balance.round_robin import neighbour

if TYPE_CHECKING:
    from sidewinder_sidecar.snapshot.upstreams import Maglev, RingHash
    from sidewinder_sidecar.upstream.endpoint import Endpoint

Places: TypeAlias = "array[int]"

KEY_BITS: Final = 60  # what the compiled data path keeps without an object of its own
# Places looked at: with the tightest bound, 110 %, at most 91 % of all are full, and all these are once in 10^10.
MOST_LOOKS: Final = 256
LEVEL_SPREAD: Final = 815238614083298889  # 2^60 / √2, odd: a multiplier with its bits well spread
STALE: Final = 8  # what is in flight in all is counted anew when an eighth as many picks as endpoints have come


class HashedBalancer:
    """A table. Made by `prepare` of its algorithm; `admit` says before each use who may be picked."""

    __slots__ = ("_bounds", "_endpoints", "_ends", "_levels", "_places", "_spec", "_up", "_usable", "_weights")

    def __init__(
        self, spec: RingHash | Maglev, endpoints: Sequence[Endpoint], weights: Sequence[int], places: Places
    ) -> None:
        self._spec = spec
        self._endpoints = tuple(endpoints)
        self._weights = tuple(weights)
        self._places = places  # each an endpoint's number
        # who may be picked
        self._usable: Sequence[Endpoint] = self._endpoints
        self._levels: list[Sequence[Endpoint]] = [self._endpoints]
        self._ends: list[float] | None = None  # the levels' shares, summed up; None: there is one
        self._up: bytearray | None = None  # by number its level, from 1; 0: none. None: all are in the one
        self._bounds: list[Bound] | None = None

    def holds(self, spec: RingHash | Maglev, endpoints: Sequence[Endpoint], weights: Sequence[int]) -> bool:
        """Would it be the same table again? Another key or bound is another one, too; those are rare."""
        return self._spec == spec and self._weights == tuple(weights) and self._endpoints == tuple(endpoints)

    def admit(self, usable: Sequence[Endpoint], parts: Sequence[tuple[Sequence[Endpoint], float]] = ()) -> None:
        """These may be picked, at least one; `parts` are their levels, with the share of each."""
        parts = parts or [(usable, 1.0)]
        self._usable = usable
        self._levels = [some for some, _ in parts]
        self._ends = list(accumulate([share for _, share in parts])) if len(parts) > 1 else None
        self._up = None
        if len(parts[0][0]) < len(self._endpoints):
            numbers = {endpoint: number for number, endpoint in enumerate(self._endpoints)}
            self._up = up = bytearray(len(numbers))
            for level, some in enumerate(self._levels, 1):
                for endpoint in some:
                    up[numbers[endpoint]] = level
        percent = self._spec.balance_factor
        self._bounds = [Bound(percent, some) for some in self._levels] if percent else None

    def _place(self, key: int) -> int:
        raise NotImplementedError

    def pick(self, avoid: Collection[Endpoint] = (), key: int | None = None, now: float = 0.0) -> Endpoint:
        """The key's endpoint; of a request without a key any."""
        if key is None:
            key = getrandbits(KEY_BITS)
        place = self._place(key)
        level = 0 if self._ends is None else min(bisect_right(self._ends, drawn(key)), len(self._levels) - 1)
        bound = None
        if self._bounds is not None:
            bound = self._bounds[level]
            bound.count()
        if not avoid and self._up is None:
            endpoint = self._endpoints[self._places[place]]
            if bound is None or bound.admits(endpoint):
                return endpoint
        return self._walk(place, level, bound, avoid)

    def _walk(self, place: int, level: int, bound: Bound | None, avoid: Collection[Endpoint]) -> Endpoint:
        """From that place on, the first of the level that did not fail and has room; else one of the level that did
        not fail; else of all that are usable."""
        places, endpoints, up = self._places, self._endpoints, self._up
        size = len(places)
        full: Endpoint | None = None
        for ahead in range(min(MOST_LOOKS, size)):
            number = places[(place + ahead) % size]
            if up is not None and up[number] != level + 1:
                continue
            endpoint = endpoints[number]
            if avoid and endpoint in avoid:
                continue
            if bound is None or bound.admits(endpoint):
                return endpoint
            if full is None:
                full = endpoint
        if full is not None:
            return full
        first = endpoints[places[place]]
        for some in (self._levels[level], self._usable):
            index = place % len(some)
            first = some[index]
            if first in avoid:
                first = neighbour(some, index, avoid)
            if first not in avoid:
                break
        return first


class Bound:
    """How much one endpoint may have in flight. The mean is of a moment ago, and never too small."""

    __slots__ = ("_active", "_factor", "_picks", "_usable", "_weights")

    def __init__(self, percent: int, usable: Sequence[Endpoint]) -> None:
        """Load is shared among these."""
        self._factor = percent / 100
        self._active = 0
        self._usable = usable
        self._weights = sum([endpoint.weight for endpoint in usable])
        self._picks = len(usable)  # counted when somebody asks

    def count(self) -> None:
        """One more request."""
        self._picks += 1

    def admits(self, endpoint: Endpoint) -> bool:
        """May it have one more? Whoever has nothing may, so that a quiet service counts nothing."""
        active = endpoint.active
        if not active:
            return True
        if self._picks * STALE >= len(self._usable):
            self._active = sum([one.active for one in self._usable])
            self._picks = 1
        # the share of all that are in flight with this one, rounded up: an integer is below it where it is below itself
        return active < self._factor * (self._active + self._picks) * endpoint.weight / self._weights


def hashed(value: bytes) -> int:
    """A key of KEY_BITS, the same in every proxy and after every start."""
    return int.from_bytes(blake2b(value, digest_size=8).digest(), "big") >> (64 - KEY_BITS)


def drawn(key: int) -> float:
    """A key's own draw among levels, between 0 and 1: always the same, and another than that of a slow start."""
    return (key * LEVEL_SPREAD & ((1 << KEY_BITS) - 1)) / (1 << KEY_BITS)


def name_of(endpoint: Endpoint) -> bytes:
    """What an endpoint's places are drawn from."""
    host, port = endpoint.address
    return b"%b %b %d" % (endpoint.uid.encode(), host.encode(), port)


def typecode(endpoints: int) -> str:
    """The narrowest array for an endpoint's number: two bytes in all but the largest services."""
    return "H" if endpoints <= 1 << 16 else "I"
