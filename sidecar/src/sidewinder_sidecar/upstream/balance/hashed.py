"""What balancers by hash have in common: a table of places, one of which a key has, and the walk to the next.

The table is over all endpoints that a backend has, usable or not, in the same order in every proxy. Who cannot be used
is stepped over: its keys, and no others, go elsewhere, and come back with it. So the table stands while endpoints come
in and out of use, and is built anew, in steps, only when one is added, removed or weighted anew.

Bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018): nobody may have more than `balance_factor` percent of the mean of
what is in flight, by weight and rounded up; a key whose endpoint has that goes to the next that has not.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from hashlib import blake2b
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
STALE: Final = 8  # what is in flight in all is counted anew when an eighth as many picks as endpoints have come


class HashedBalancer:
    """A table. Made by `prepare` of its algorithm; `admit` says before each use who may be picked."""

    __slots__ = ("_bound", "_endpoints", "_places", "_spec", "_up", "_usable", "_weights")

    def __init__(
        self, spec: RingHash | Maglev, endpoints: Sequence[Endpoint], weights: Sequence[int], places: Places
    ) -> None:
        self._spec = spec
        self._endpoints = tuple(endpoints)
        self._weights = tuple(weights)
        self._places = places  # each an endpoint's number
        self._up: bytearray | None = None  # by number; None: all
        self._usable: Sequence[Endpoint] = self._endpoints
        self._bound: Bound | None = Bound(spec.balance_factor, self._endpoints) if spec.balance_factor else None

    def holds(self, spec: RingHash | Maglev, endpoints: Sequence[Endpoint], weights: Sequence[int]) -> bool:
        """Would it be the same table again? Another key or bound is another one, too; those are rare."""
        return self._spec == spec and self._weights == tuple(weights) and self._endpoints == tuple(endpoints)

    def admit(self, usable: Sequence[Endpoint]) -> None:
        """These may be picked, at least one."""
        self._usable = usable
        self._up = None
        if len(usable) < len(self._endpoints):
            numbers = {endpoint: number for number, endpoint in enumerate(self._endpoints)}
            self._up = up = bytearray(len(numbers))
            for endpoint in usable:
                up[numbers[endpoint]] = 1
        if self._bound is not None:
            self._bound.begin(usable)

    def _place(self, key: int) -> int:
        raise NotImplementedError

    def pick(self, avoid: Collection[Endpoint] = (), key: int | None = None, now: float = 0.0) -> Endpoint:
        """The key's endpoint; of a request without a key any."""
        place = self._place(key if key is not None else getrandbits(KEY_BITS))
        if self._bound is not None:
            self._bound.count()
        if not avoid and self._up is None:
            endpoint = self._endpoints[self._places[place]]
            if self._bound is None or self._bound.admits(endpoint):
                return endpoint
        return self._walk(place, avoid)

    def _walk(self, place: int, avoid: Collection[Endpoint]) -> Endpoint:
        """From that place on, the first that is usable, did not fail and has room; else the first of the usable."""
        places, endpoints, up, bound = self._places, self._endpoints, self._up, self._bound
        size = len(places)
        full: Endpoint | None = None
        for ahead in range(min(MOST_LOOKS, size)):
            number = places[(place + ahead) % size]
            if up is not None and not up[number]:
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
        usable = self._usable
        first = usable[place % len(usable)]
        return neighbour(usable, place % len(usable), avoid) if first in avoid else first


class Bound:
    """How much one endpoint may have in flight. The mean is of a moment ago, and never too small."""

    __slots__ = ("_active", "_factor", "_picks", "_usable", "_weights")

    def __init__(self, percent: int, usable: Sequence[Endpoint]) -> None:
        self._factor = percent / 100
        self._active = self._picks = self._weights = 0
        self._usable = usable

    def begin(self, usable: Sequence[Endpoint]) -> None:
        """Load is shared among these."""
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


def name_of(endpoint: Endpoint) -> bytes:
    """What an endpoint's places are drawn from."""
    host, port = endpoint.address
    return b"%b %b %d" % (endpoint.uid.encode(), host.encode(), port)


def typecode(endpoints: int) -> str:
    """The narrowest array for an endpoint's number: two bytes in all but the largest services."""
    return "H" if endpoints <= 1 << 16 else "I"
