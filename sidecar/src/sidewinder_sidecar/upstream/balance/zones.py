"""Which zone next? Endpoints near the proxy first, and of others as much as those cannot carry.

Levels in order: the proxy's own zone, the zones of `failover` one by one, everybody else. Each carries up to its
healthy share times 1.4, of what those before it have left; what nobody can carry is shared out in proportion. That is
Envoy's formula for priority levels with its overprovisioning factor: down to 71 % healthy a zone keeps all of its own.

A hash knows levels, too, without this balancer: there a key has its level (`hashed`).

Another formula knows how many callers each zone has, and keeps endpoints evenly loaded where callers are not evenly
spread. It needs everybody's numbers everywhere; this one needs its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate
from random import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidewinder_sidecar.snapshot.upstreams import LocalitySpec
    from sidewinder_sidecar.upstream.balance import Balancer
    from sidewinder_sidecar.upstream.endpoint import Endpoint

OVERPROVISIONING: Final = 1.4  # Envoy's: a zone can take 1.4 times its even share
NOTHING: Final = 1e-9  # a share that only rounding has left


class ZonedBalancer:
    """A balancer for each level that has a share."""

    __slots__ = ("_ends", "levels")

    def __init__(self, parts: Sequence[tuple[Balancer, float]]) -> None:
        self.levels = [level for level, _ in parts]
        self._ends = list(accumulate(share for _, share in parts))

    def pick(self, avoid: Collection[Endpoint] = (), key: int | None = None, now: float = 0.0) -> Endpoint:
        """Of one level; where all of it failed already, of the next that has another."""
        first = bisect_right(self._ends, random() * self._ends[-1])
        endpoint = self.levels[first].pick(avoid, key, now)
        if avoid and endpoint in avoid:
            for level in self.levels:
                other = level.pick(avoid, key, now)
                if other not in avoid:
                    return other
        return endpoint

    def __repr__(self) -> str:
        return f"<Zoned {self.levels!r}>"


def levels(
    spec: LocalitySpec, usable: Sequence[Endpoint], members: Sequence[Endpoint], zone: str
) -> list[tuple[list[Endpoint], float]]:
    """The usable endpoints by level, with the share of each that has any: at least one level, all shares together 1.

    Without a zone of its own a proxy is near nobody: `failover` says who stands in for that zone.
    """
    if not zone:
        return [(list(usable), 1.0)]
    order = {name: rank for rank, name in reversed([*enumerate((zone, *spec.failover))]) if name}
    last = len(spec.failover) + 1
    some: list[list[Endpoint]] = [[] for _ in range(last + 1)]
    weights, whole = [0] * (last + 1), [0] * (last + 1)
    for endpoint in members:
        whole[order.get(endpoint.zone, last)] += endpoint.weight
    for endpoint in usable:
        rank = order.get(endpoint.zone, last)
        some[rank].append(endpoint)
        weights[rank] += endpoint.weight
    healthy = [weights[rank] / whole[rank] if whole[rank] else 0.0 for rank in range(last + 1)]
    return [(found, share) for found, share in zip(some, shares(healthy), strict=True) if found and share > NOTHING]


def shares(healthy: Sequence[float]) -> list[float]:
    """What each level gets, by the healthy share of each in order; at least one must have one."""
    carries = [min(1.0, OVERPROVISIONING * share) for share in healthy]
    whole = min(1.0, sum(carries))
    left, found = 1.0, []
    for carried in carries:
        share = min(left, carried / whole)
        left -= share
        found.append(share)
    return found
