"""Power of two choices over expected latency: of two endpoints drawn by weight, the one whose latency times requests in
flight and one more is smaller.

Source: Finagle's PeakEwma (Boyle, 2014), as Linkerd has it: who nobody has measured costs what its first guess says.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate
from random import random
from typing import TYPE_CHECKING

from sidewinder_sidecar.snapshot.upstreams import PeakEWMA
from sidewinder_sidecar.upstream.balance.latency import Latency
from sidewinder_sidecar.upstream.balance.round_robin import neighbour

if TYPE_CHECKING:
    from sidewinder_sidecar.snapshot.upstreams import Balancing
    from sidewinder_sidecar.upstream.endpoint import Endpoint


class PeakEwmaBalancer:
    """`_ends` is None while all weights are equal, as in LeastRequest."""

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
        if cost(other, now) < cost(one, now):
            one, other, first = other, one, second
        if not avoid or one not in avoid:
            return one
        return other if other not in avoid else neighbour(endpoints, first, avoid)

    def __repr__(self) -> str:
        return f"<PeakEWMA of {self._count}>"


def cost(endpoint: Endpoint, now: float) -> float:
    """How long one more request would take there, as far as anybody knows."""
    latency = endpoint.latency
    return (0.0 if latency is None else latency.expected(now)) * (endpoint.active + 1) / endpoint.weight


def measure(spec: Balancing, endpoints: Sequence[Endpoint], now: float) -> None:
    """Let endpoints be measured where `spec` wants to know, and there alone. What was measured stays."""
    wanted = spec if isinstance(spec, PeakEWMA) else None
    for endpoint in endpoints:
        latency = endpoint.latency
        if latency is not None and latency.spec != wanted:
            endpoint.unwatch(latency)
            endpoint.latency = latency = None
        if latency is None and wanted is not None:
            endpoint.latency = latency = Latency(wanted, now)
            endpoint.watch(latency)
