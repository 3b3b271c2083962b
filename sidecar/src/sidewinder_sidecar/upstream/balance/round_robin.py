"""Smooth weighted round robin: in every cycle each endpoint exactly as often as its weight says, spread evenly.

A cycle has as many places as the weights' sum; endpoint i owns `weight` neighbouring ones. The turn steps over them by
a golden-ratio stride without a common divisor with the sum: every place once a cycle, and (three-distance theorem) the
places of one endpoint evenly apart. The start is random, or all proxies would begin with the same endpoint; when who is
usable changes, the turn goes on at the same part of the circle, or every change would be a draw by chance.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate
from math import gcd
from random import random, randrange
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidewinder_sidecar.upstream.endpoint import Endpoint

GOLDEN: Final = 0.6180339887498949


class RoundRobinBalancer:
    """10 000 endpoints cost what two cost: one bisection in C, and none while every endpoint has one place."""

    __slots__ = ("_endpoints", "_ends", "_place", "_stride", "_sum")

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        divisor = gcd(*(endpoint.weight for endpoint in endpoints))
        self._endpoints = tuple(endpoints)
        self._ends = list(accumulate(endpoint.weight // divisor for endpoint in endpoints))
        self._sum = self._ends[-1]
        self._stride = stride(self._sum)
        self._place = randrange(self._sum)

    def follow(self, before: RoundRobinBalancer) -> None:
        """Go on where `before` stands: so far round, however many places there are now. Anywhere within its place, or
        rounding would favour somebody."""
        if self._sum == before._sum:
            self._place = before._place
        else:
            self._place = int((before._place + random()) / before._sum * self._sum)

    def pick(self, avoid: Collection[Endpoint] = (), key: int | None = None, now: float = 0.0) -> Endpoint:
        """The next one; when it failed already, the nearest neighbour that did not."""
        self._place = place = (self._place + self._stride) % self._sum
        index = place if self._sum == len(self._endpoints) else bisect_right(self._ends, place)
        endpoint = self._endpoints[index]
        if endpoint in avoid:
            return neighbour(self._endpoints, index, avoid)
        return endpoint

    def __repr__(self) -> str:
        return f"<RoundRobin of {len(self._endpoints)}, next {(self._place + self._stride) % self._sum}/{self._sum}>"


def stride(places: int) -> int:
    """The step nearest to the golden ratio of `places` that has no divisor in common with it."""
    step = max(1, round(places * GOLDEN))
    while gcd(step, places) != 1:
        step += 1
    return step


def neighbour(endpoints: Sequence[Endpoint], index: int, avoid: Collection[Endpoint]) -> Endpoint:
    """The next endpoint after `index` that is not avoided: at most as many looks as there are avoided ones."""
    count = len(endpoints)
    for ahead in range(1, min(count, len(avoid) + 1)):
        if (endpoint := endpoints[(index + ahead) % count]) not in avoid:
            return endpoint
    return endpoints[index]
