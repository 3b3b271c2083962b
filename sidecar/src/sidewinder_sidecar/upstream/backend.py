"""One way to call one service: its endpoints, its balancer, its retry budget. State that outlives a plan.

Made by `plan/upstreams`, kept and updated by the fleet, held by compiled routes: endpoints come and go underneath them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeAlias

from sidewinder_sidecar.resilience.budget import Budget
from sidewinder_sidecar.upstream.balance import balancer

if TYPE_CHECKING:
    from sidewinder_sidecar.snapshot.upstreams import BackendSpec, EndpointsSpec
    from sidewinder_sidecar.upstream.balance import Balancer
    from sidewinder_sidecar.upstream.endpoint import Endpoint

Key: TypeAlias = tuple[str, str, int]  # (pod uid or address, address, port): a reused IP inherits nothing


class Backend:
    """`sources` are the two specs it was last brought in line with: the same objects mean nothing to do."""

    __slots__ = ("_balancer", "_by_address", "_only", "budget", "endpoints", "name", "service", "sources")

    def __init__(self, name: str, sources: tuple[BackendSpec, EndpointsSpec], now: float) -> None:
        self.name = name
        self.service = sources[0].service or sources[0].endpoints.partition(":")[0]
        self.sources = sources
        self.budget = Budget(sources[0].budget, now)
        self.endpoints: Mapping[Key, Endpoint] = {}
        self._balancer: Balancer | None = None
        self._by_address: dict[tuple[str, int], Endpoint] | None = None  # made when somebody asks
        self._only: Endpoint | None = None  # when there is nothing to choose

    def serve(self, sources: tuple[BackendSpec, EndpointsSpec], endpoints: Mapping[Key, Endpoint], now: float) -> None:
        """Call these from now on, in this way."""
        if sources[0].budget != self.budget.spec:
            self.budget.renew(sources[0].budget, now)
        self.service = sources[0].service or sources[0].endpoints.partition(":")[0]
        self.sources = sources
        self.endpoints = endpoints
        self._by_address = None
        self._balancer = balancer(sources[0].balancing, tuple(endpoints.values()))
        usable = [endpoint for endpoint in endpoints.values() if endpoint.ready and endpoint.weight > 0]
        self._only = usable[0] if len(usable) == 1 else None

    def pick(self, now: float) -> Endpoint | None:
        """An endpoint for a new request, which the budget counts; None when none is ready."""
        budget = self.budget
        if now >= budget.edge:
            budget.advance(now)
        budget.current += 1
        return self._only or (None if self._balancer is None else self._balancer.pick())

    def pick_dialled(self, to: tuple[str, int], now: float) -> Endpoint | None:
        """The very endpoint that a caller has dialled, ready or not; None when it is gone. Counted as `pick` does."""
        if (by_address := self._by_address) is None:
            endpoints = self.endpoints.values()
            self._by_address = by_address = {(canonical(one.address[0]), one.address[1]): one for one in endpoints}
        budget = self.budget
        if now >= budget.edge:
            budget.advance(now)
        budget.current += 1
        return by_address.get(to)

    def pick_other(self, failed: Collection[Endpoint]) -> Endpoint | None:
        """An endpoint for a retry: one that did not fail, if there is one."""
        return None if self._balancer is None else self._balancer.pick(failed)

    def __repr__(self) -> str:
        return f"<Backend {self.name} {len(self.endpoints)} endpoints {self.budget!r}>"


def canonical(address: str) -> str:
    """An IP literal as the kernel's addresses are written here; what is none stays as it is."""
    try:
        return str(ip_address(address)) if ":" in address else address
    except ValueError:
        return address
