"""A hash ring: every endpoint has points on a circle, a key belongs to the next point. Logarithmic.

As ketama draws them (Jones 2007): an endpoint's points come from its own name alone, so one that goes leaves its keys
to its neighbours, and no key moves between others. How many points each has is the least power of two that fills the
ring to `min_size`, and at least POINTS while `max_size` allows it: it changes when endpoints have doubled, not before.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from hashlib import blake2b
from math import gcd
from struct import unpack
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.upstream.balance.hashed import KEY_BITS, HashedBalancer, Places, name_of, typecode

if TYPE_CHECKING:
    from sidewinder_sidecar.snapshot.upstreams import RingHash
    from sidewinder_sidecar.upstream.endpoint import Endpoint

POINTS: Final = 128  # a share then differs from its mean by 1/√128, 9 %, in one endpoint of three by more
BITS: Final = 40  # of a point: among a million two are alike by chance
NUMBER_BITS: Final = KEY_BITS - BITS  # while points are sorted, their endpoint's number is below them
AT_ONCE: Final = 8  # points drawn from one hash: blake2b gives 64 bytes
BUCKETS: Final = 256  # the ring is sorted in so many pieces: 1 000 points, 0.3 ms, of the largest default ring


class RingHashBalancer(HashedBalancer):
    """`_points` in order, the endpoint of each in `_places`."""

    __slots__ = ("_points",)

    def __init__(
        self, spec: RingHash, endpoints: Sequence[Endpoint], weights: Sequence[int], points: Places, places: Places
    ) -> None:
        super().__init__(spec, endpoints, weights, places)
        self._points = points

    def _place(self, key: int) -> int:
        place = bisect_right(self._points, key >> NUMBER_BITS)
        return place if place < len(self._points) else 0

    def __repr__(self) -> str:
        return f"<RingHash of {len(self._usable)}/{len(self._endpoints)}, {len(self._points)} points>"


def prepare(
    spec: RingHash, endpoints: Sequence[Endpoint], weights: Sequence[int]
) -> Generator[None, None, RingHashBalancer]:
    """Draw, sort and join the points, in steps."""
    buckets: list[list[int]] = [[] for _ in range(BUCKETS)]
    shift = KEY_BITS - BUCKETS.bit_length() + 1
    counts = points_of(spec, weights)
    for number, endpoint in enumerate(endpoints):
        for some in drawn(name_of(endpoint), counts[number]):
            for point in some:
                entry = point >> (64 - BITS) << NUMBER_BITS | number
                buckets[entry >> shift].append(entry)
            yield
    points, places = array("Q"), array(typecode(len(endpoints)))
    low = (1 << NUMBER_BITS) - 1
    for bucket in buckets:
        bucket.sort()
        yield
        points.extend([entry >> NUMBER_BITS for entry in bucket])
        places.extend([entry & low for entry in bucket])
        bucket.clear()
        yield
    return RingHashBalancer(spec, endpoints, weights, points, places)


def points_of(spec: RingHash, weights: Sequence[int]) -> list[int]:
    """How many points each endpoint has, at least one."""
    divisor = gcd(*weights)
    whole = sum(weights) // divisor
    if whole > spec.max_size:
        return [max(1, weight // divisor * spec.max_size // whole) for weight in weights]
    each = 1 << (spec.max_size // whole).bit_length() - 1  # the most that fits
    least = max(POINTS, 1 << (-(-spec.min_size // whole) - 1).bit_length())
    return [min(each, least) * (weight // divisor) for weight in weights]


def drawn(name: bytes, count: int) -> Iterator[tuple[int, ...]]:
    """The points of an endpoint, in the same order however many: more of them leave the first where they are."""
    for start in range(0, count, AT_ONCE):
        some: tuple[int, ...] = unpack(">8Q", blake2b(name, digest_size=64, salt=start.to_bytes(8, "big")).digest())
        yield some[: count - start]
