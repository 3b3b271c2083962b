"""Which endpoint next? One algorithm a file; built anew when endpoints change, picked from in constant time.

Called by `upstream/backend`. A balancer sees only endpoints that may be used, at least one; `avoid` are those that
failed this request already. They come only when there is no other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from sidewinder_sidecar.snapshot.upstreams import Balancing, LeastRequest, RoundRobin
from sidewinder_sidecar.upstream.balance.least_request import LeastRequestBalancer
from sidewinder_sidecar.upstream.balance.round_robin import RoundRobinBalancer

if TYPE_CHECKING:
    from sidewinder_sidecar.upstream.endpoint import Endpoint


class Balancer(Protocol):
    """One algorithm over one set of endpoints."""

    def pick(self, avoid: Collection[Endpoint] = ()) -> Endpoint: ...


Maker: TypeAlias = Callable[[Sequence["Endpoint"]], Balancer]
BALANCERS: dict[type[Balancing], Maker] = {RoundRobin: RoundRobinBalancer, LeastRequest: LeastRequestBalancer}


def balancer(spec: Balancing, endpoints: Sequence[Endpoint]) -> Balancer | None:
    """The balancer that `spec` asks for over those that may get requests; None when nobody may."""
    usable = [endpoint for endpoint in endpoints if endpoint.ready and endpoint.weight > 0]
    return BALANCERS[type(spec)](usable) if usable else None
