"""Power of two choices: of two endpoints drawn by weight, the one with fewer requests in flight per weight.

Mitzenmacher 2001: the second choice takes the longest queue from log n to log log n, and stale counts of other proxies
do not make everybody run to the same idle endpoint as "the least of all" does. A tie goes to the first draw, so that
without load the shares are the weights.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate
from random import random
from typing import TYPE_CHECKING

from sidewinder_sidecar.upstream.balance.round_robin import neighbour

if TYPE_CHECKING:
    from sidewinder_sidecar.upstream.endpoint import Endpoint


class LeastRequestBalancer:
    """`_ends` is None while all weights are equal: drawing is then one multiplication."""

    __slots__ = ("_count", "_endpoints", "_ends")

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        weights = [endpoint.weight for endpoint in endpoints]
        self._endpoints = tuple(endpoints)
        self._count = len(endpoints)
        self._ends = None if min(weights) == max(weights) else list(accumulate(weights))

    def pick(self, avoid: Collection[Endpoint] = (), key: int | None = None, now: float = 0.0) -> Endpoint:
        """The better of two; when one failed already, the other."""
        endpoints = self._endpoints
        count = self._count
        if count == 1:
            return endpoints[0]
        if (ends := self._ends) is None:
            first = int(random() * count)
            second = int(random() * (count - 1))
            if second >= first:
                second += 1
        else:
            first = bisect_right(ends, random() * ends[-1])
            second = bisect_right(ends, random() * ends[-1])
        one, other = endpoints[first], endpoints[second]
        if other.active * one.weight < one.active * other.weight:
            one, other, first = other, one, second
        if not avoid or one not in avoid:
            return one
        return other if other not in avoid else neighbour(endpoints, first, avoid)

    def __repr__(self) -> str:
        return f"<LeastRequest of {self._count}>"
