"""Maglev's lookup table: a prime number of places, shared out as evenly as they can be. A key's place is its remainder.

Eisenbud and others 2016, section 3.4: each endpoint has an order of its own of all places, and in turn takes the first
of it that is free. Weights as Envoy has them: a turn counts as much as the weight is of the heaviest. When an endpoint
is added or removed, few keys beyond its own move; a ring moves none, but shares less evenly. The table's size stands
whatever the endpoints are, or all keys would move when it changed.
"""

from __future__ import annotations

from array import array
from collections.abc import Generator, Sequence
from hashlib import blake2b
from math import isqrt
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.upstream.balance.hashed import HashedBalancer, Places, name_of, typecode

if TYPE_CHECKING:
    from sidewinder_sidecar.snapshot.upstreams import Maglev
    from sidewinder_sidecar.upstream.endpoint import Endpoint

STEP: Final = 64  # endpoints or places at a time
IDLE_STEP: Final = 2048  # endpoints that sit out, at a time


class MaglevBalancer(HashedBalancer):
    """One remainder and one look."""

    __slots__ = ()

    def _place(self, key: int) -> int:
        return key % len(self._places)

    def __repr__(self) -> str:
        return f"<Maglev of {len(self._usable)}/{len(self._endpoints)}, {len(self._places)} places>"


def prepare(
    spec: Maglev, endpoints: Sequence[Endpoint], weights: Sequence[int]
) -> Generator[None, None, MaglevBalancer]:
    """Fill the table, in steps."""
    size, count = spec.table_size, len(endpoints)
    following, skips = array("L", bytes(8 * count)), array("L", bytes(8 * count))
    names: list[bytes] = []
    for number, endpoint in enumerate(endpoints):
        names.append(name := name_of(endpoint))
        digest = blake2b(name, digest_size=16, person=b"maglev").digest()
        following[number] = int.from_bytes(digest[:8], "big") % size
        skips[number] = int.from_bytes(digest[8:], "big") % (size - 1) + 1
        if not number % STEP:
            yield
    order = sorted(range(count), key=names.__getitem__)  # the same in every proxy
    yield
    places = array(typecode(count), bytes(size * (2 if typecode(count) == "H" else 4)))
    yield from _fill(places, order, weights, following, skips)
    return MaglevBalancer(spec, endpoints, weights, places)


def is_prime(size: int) -> bool:
    """Only then has every endpoint's order all places."""
    return size > 1 and all(size % divisor for divisor in range(2, isqrt(size) + 1))


def _fill(
    places: Places, order: Sequence[int], weights: Sequence[int], following: Places, skips: Places
) -> Generator[None, None, None]:
    """Everybody takes in turn, until all is taken. Who has less than the heaviest sits out now and then."""
    size, heaviest = len(places), max(weights)
    taken = bytearray(size)
    owed = [0] * len(weights)
    left = size
    idle = 0
    while True:
        for number in order:
            owed[number] += weights[number]
            if owed[number] < heaviest:
                idle += 1
                if not idle % IDLE_STEP:  # beside one heavy endpoint thousands of light ones sit out
                    yield
                continue
            owed[number] -= heaviest
            place, skip = following[number], skips[number]
            while taken[place]:
                place = (place + skip) % size
            taken[place] = 1
            places[place] = number
            following[number] = (place + skip) % size
            left -= 1
            if not left:
                return
            if not left % STEP:
                yield
