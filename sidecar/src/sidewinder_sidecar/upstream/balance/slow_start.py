"""Slow start: who has just become usable comes to its whole share over a window. Asked by `upstream/backend`.

Its weight counts a tenth at first and grows with time, in proportion (Envoy's formula with aggression 1 and a least
weight of 10 %). Balancers know nothing of it: an endpoint that they choose is accepted with that probability, else they
choose again. So shares are the weights, times what each has grown to, and no balancer is rebuilt while time passes. Of
a hash's keys an endpoint accepts a growing part, always the same ones and more: each key moves to it once.
"""

from __future__ import annotations

from collections.abc import Collection
from random import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidewinder_sidecar.upstream.balance import Balancer
    from sidewinder_sidecar.upstream.endpoint import Endpoint

LEAST: Final = 0.1  # of its weight: enough that something is seen to work, too little to be felt where it does not
MOST_DRAWS: Final = 16  # where everybody is new one in ten is accepted: then the last of these is as good
MOST_STEPS: Final = 4  # of a key: where half are new, of sixteen keys one finds nobody else and stays
# Another order of the keys than the tables': a multiplier with its bits well spread (Fibonacci hashing, 2^60 / 1.618…).
SPREAD: Final = 712526917262131657
BITS: Final = 60


def grown(endpoint: Endpoint, window: float, now: float) -> float:
    """What part of its weight counts now."""
    age = now - endpoint.risen
    return 1.0 if age >= window else max(LEAST, age / window)


def warmed(
    balancer: Balancer, endpoint: Endpoint, window: float, avoid: Collection[Endpoint], key: int | None, now: float
) -> Endpoint:
    """`endpoint`, which was chosen, or another in its place as long as it is new."""
    if key is not None:
        return _by_key(balancer, endpoint, window, avoid, key, now)
    for _ in range(MOST_DRAWS):
        if random() < grown(endpoint, window, now):
            break
        endpoint = balancer.pick(avoid, None, now)
    return endpoint


def _by_key(
    balancer: Balancer, first: Endpoint, window: float, avoid: Collection[Endpoint], key: int, now: float
) -> Endpoint:
    """The first in the key's own order that takes it; where they are all new, the first that there is."""
    draw, endpoint = luck(key), first
    for _ in range(MOST_STEPS):
        if draw < grown(endpoint, window, now):
            return endpoint
        avoid = (*avoid, endpoint)
        endpoint = balancer.pick(avoid, key, now)
        if endpoint in avoid:
            break
    return first


def luck(key: int) -> float:
    """A key's own draw, between 0 and 1: always the same."""
    return (key * SPREAD & ((1 << BITS) - 1)) / (1 << BITS)
