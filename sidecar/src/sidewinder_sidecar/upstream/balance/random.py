"""Any endpoint, by weight: what needs no state and no agreement, and the measure of what the others are worth."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate
from random import random
from typing import TYPE_CHECKING

from sidewinder_sidecar.upstream.balance.round_robin import neighbour

if TYPE_CHECKING:
    from sidewinder_sidecar.upstream.endpoint import Endpoint


class RandomBalancer:
    """Draws from the weights' running sum; `_ends` is None while all are equal, as in LeastRequest."""

    __slots__ = ("_count", "_endpoints", "_ends")

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        weights = [endpoint.weight for endpoint in endpoints]
        self._endpoints = tuple(endpoints)
        self._count = len(endpoints)
        self._ends = None if min(weights) == max(weights) else list(accumulate(weights))

    def pick(self, avoid: Collection[Endpoint] = (), key: int | None = None, now: float = 0.0) -> Endpoint:
        """One drawn; when it failed already, the nearest neighbour that did not."""
        ends = self._ends
        index = int(random() * self._count) if ends is None else bisect_right(ends, random() * ends[-1])
        endpoint = self._endpoints[index]
        return neighbour(self._endpoints, index, avoid) if endpoint in avoid else endpoint

    def __repr__(self) -> str:
        return f"<Random of {self._count}>"
