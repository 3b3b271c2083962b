"""Which endpoint next? One algorithm a file; built anew when endpoints change, picked from in constant time.

Called by `upstream/backend`. A balancer sees only endpoints that may be used, at least one; `avoid` are those that
failed this request already. They come only when there is no other. `key` is the hash of whatever the policy says, None
where the request has nothing of it; `now` is for those who weigh what was measured.

The balancers by hash keep their table over changes of who may be used (`hashed`). It is long to build, so the plan does
it in steps (`prepare`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from sidewinder_sidecar.snapshot.upstreams import (
    Balancing,
    LeastRequest,
    Maglev,
    PeakEWMA,
    Random,
    RingHash,
    RoundRobin,
)
from sidewinder_sidecar.upstream.balance import maglev, ring_hash
from sidewinder_sidecar.upstream.balance.least_request import LeastRequestBalancer
from sidewinder_sidecar.upstream.balance.peak_ewma import PeakEwmaBalancer
from sidewinder_sidecar.upstream.balance.random import RandomBalancer
from sidewinder_sidecar.upstream.balance.round_robin import RoundRobinBalancer
from sidewinder_sidecar.upstream.balance.zones import ZonedBalancer, levels

if TYPE_CHECKING:
    from sidewinder_sidecar.snapshot.upstreams import BackendSpec
    from sidewinder_sidecar.upstream.balance.hashed import HashedBalancer
    from sidewinder_sidecar.upstream.endpoint import Endpoint


class Balancer(Protocol):
    """One algorithm over one set of endpoints."""

    def pick(self, avoid: Collection[Endpoint] = (), key: int | None = None, now: float = 0.0) -> Endpoint: ...


Maker: TypeAlias = Callable[[Sequence["Endpoint"]], Balancer]
BALANCERS: Final[dict[type[Balancing], Maker]] = {
    RoundRobin: RoundRobinBalancer,
    LeastRequest: LeastRequestBalancer,
    Random: RandomBalancer,
    PeakEWMA: PeakEwmaBalancer,
}


def balancer(
    spec: BackendSpec,
    usable: Sequence[Endpoint],
    members: Sequence[Endpoint],
    zone: str,
    table: HashedBalancer | None,
    before: Balancer | None = None,
) -> Balancer | None:
    """The balancer that `spec` asks for over those of `members` that are usable; None when nobody is. `before` is what
    it takes the place of: a turn goes on where it was."""
    if not usable:
        return None
    if table is not None:
        table.admit(usable, () if spec.locality is None else levels(spec.locality, usable, members, zone))
        return table
    make = BALANCERS[type(spec.balancing)]
    parts = [(usable, 1.0)] if spec.locality is None else levels(spec.locality, usable, members, zone)
    made = ZonedBalancer([(make(some), share) for some, share in parts]) if len(parts) > 1 else make(parts[0][0])
    follow(made, before)
    return made


def follow(made: Balancer, before: Balancer | None) -> None:
    """Only a turn is worth keeping here: what is measured and counted hangs on endpoints."""
    if isinstance(before, ZonedBalancer):
        if isinstance(made, ZonedBalancer):
            for new, old in zip(made.levels, before.levels, strict=False):
                follow(new, old)
    elif isinstance(made, RoundRobinBalancer) and isinstance(before, RoundRobinBalancer):
        made.follow(before)


def prepare(
    spec: Balancing, endpoints: Sequence[Endpoint], weights: Sequence[int], known: HashedBalancer | None
) -> Generator[None, None, HashedBalancer | None]:
    """The table that `spec` needs, in steps; `known` again where it would be the same, None where none is needed."""
    if not endpoints or not isinstance(spec, RingHash | Maglev):
        return None
    if known is not None and known.holds(spec, endpoints, weights):
        return known
    if isinstance(spec, RingHash):
        return (yield from ring_hash.prepare(spec, endpoints, weights))
    return (yield from maglev.prepare(spec, endpoints, weights))
