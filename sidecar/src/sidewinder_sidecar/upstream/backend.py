"""One way to call one service: its endpoints, its balancer, its retry budget. State that outlives a plan.

Made by `plan/upstreams`, kept and updated by the fleet, held by compiled routes: endpoints come and go underneath them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, TypeAlias

from sidewinder_sidecar.resilience.budget import Budget
from sidewinder_sidecar.resilience.concurrency import Concurrency
from sidewinder_sidecar.resilience.outlier import Outliers, calm
from sidewinder_sidecar.resilience.retry import KEY
from sidewinder_sidecar.snapshot.routes import IDEMPOTENT
from sidewinder_sidecar.upstream.balance import balancer, prepare
from sidewinder_sidecar.upstream.balance.keys import key_maker
from sidewinder_sidecar.upstream.balance.peak_ewma import measure
from sidewinder_sidecar.upstream.balance.slow_start import warmed

if TYPE_CHECKING:
    from sidewinder_sidecar.messages import Call, Peer
    from sidewinder_sidecar.snapshot.upstreams import BackendSpec, EndpointsSpec
    from sidewinder_sidecar.upstream.balance import Balancer
    from sidewinder_sidecar.upstream.balance.hashed import HashedBalancer
    from sidewinder_sidecar.upstream.balance.keys import KeyMaker
    from sidewinder_sidecar.upstream.endpoint import Endpoint

Key: TypeAlias = tuple[str, str, int]  # (pod uid or address, address, port): a reused IP inherits nothing
MIN_HEALTHY: Final = 30  # percent, where no breaker says another number: as its section's default
REPEATABLE: Final = frozenset(method.encode() for method in IDEMPOTENT)
NOBODY: Final[tuple[Endpoint, ...]] = ()


class Backend:
    """`sources` are the two specs it was last brought in line with: the same objects mean nothing to do.

    `_members` may get requests as far as configuration goes; whom of them the balancer sees, `reshape` says.
    """

    __slots__ = (
        "_balancer", "_by_address", "_key", "_members", "_only", "_seen", "_slow", "budget", "endpoints", "limits",
        "name", "outliers", "panicking", "service", "sources", "table", "watched", "zone",
    )  # fmt: skip

    def __init__(self, name: str, sources: tuple[BackendSpec, EndpointsSpec], now: float) -> None:
        self.name = name
        self.service = sources[0].service or sources[0].endpoints.partition(":")[0]
        self.sources = sources
        self.budget = Budget(sources[0].budget, now)
        self.endpoints: Mapping[Key, Endpoint] = {}
        self.limits: Concurrency | None = None
        self.outliers: Outliers[Endpoint] | None = None
        self.panicking = False  # all are used that are ready, since too few are usable
        self.watched = False  # whether tries have somebody to tell, or to ask
        self.zone = ""  # where this proxy runs
        self.table: HashedBalancer | None = None  # what is worth keeping over changes of who is usable
        self._balancer: Balancer | None = None
        self._by_address: dict[tuple[str, int], Endpoint] | None = None  # made when somebody asks
        self._key: KeyMaker | None = None
        self._members: Sequence[Endpoint] = ()
        self._only: Endpoint | None = None  # when there is nothing to choose
        self._seen: frozenset[Endpoint] = frozenset()  # whom the balancer saw last: who is not among them starts slowly
        self._slow = 0.0

    def serve(
        self,
        sources: tuple[BackendSpec, EndpointsSpec],
        endpoints: Mapping[Key, Endpoint],
        now: float,
        table: HashedBalancer | None = None,
    ) -> None:
        """Call these from now on, in this way. `table` is what was built for it in steps, where it is long to build."""
        spec = sources[0]
        if spec.budget != self.budget.spec:
            self.budget.renew(spec.budget, now)
        self.service = spec.service or spec.endpoints.partition(":")[0]
        self.sources = sources
        self.endpoints = endpoints
        self._by_address = None
        self._key = key_maker(spec.balancing)
        self._slow = spec.slow_start
        members = [one for one in endpoints.values() if one.weight > 0]
        if spec.subset:
            members = [one for one in members if within(spec, one.labels)]
        self._members = members
        self.table = table if table is not None else _at_once(spec, members)
        measure(spec.balancing, members, now)
        self._guard(spec, now)
        self.reshape(now)

    def _guard(self, spec: BackendSpec, now: float) -> None:
        """Breakers and limits: what stays keeps its state."""
        if spec.breaker is not None:
            if self.outliers is None:
                self.outliers = Outliers(spec.breaker, self.reshape)
            self.outliers.serve(spec.breaker, self._members, now)
        elif self.outliers is not None:
            self.outliers.close(now)
            self.outliers = None
        if spec.concurrency is None:
            self.limits = None
        elif self.limits is None:
            self.limits = Concurrency(spec.concurrency, self.service)
        else:
            self.limits.spec = spec.concurrency

    def reshape(self, now: float) -> None:
        """Who may be picked has changed: an endpoint's `usable`, or what it stands on."""
        usable = self._usable()
        if self._slow and self._seen:
            for endpoint in usable:
                if endpoint not in self._seen:
                    endpoint.begin_slow_start(now)
        self._seen = frozenset(usable) if self._slow else frozenset()
        self._balancer = balancer(self.sources[0], usable, self._members, self.zone, self.table, self._balancer)
        self._only = usable[0] if len(usable) == 1 else None
        self.watched = self.limits is not None or any(endpoint.observers for endpoint in self._members)

    def _usable(self) -> Sequence[Endpoint]:
        """Whom the balancer sees: those that are ready, healthy and not ejected; of too few of them, all that are
        ready."""
        usable: Sequence[Endpoint] = [endpoint for endpoint in self._members if endpoint.usable]
        self.panicking = False
        if len(usable) < len(self._members):
            breaker = self.sources[0].breaker
            least = MIN_HEALTHY if breaker is None else breaker.min_healthy_percent
            usable, self.panicking = calm(usable, self._members, least)
        return usable

    def pick(self, now: float, call: Call | None = None, peer: Peer | None = None) -> Endpoint | None:
        """An endpoint for a new request, which the budget counts; None when none is usable.

        The key of a hash comes from `call`; a relayed connection has none, but a `peer`.
        """
        budget = self.budget
        if now >= budget.edge:
            budget.advance(now)
        budget.current += 1
        outliers = self.outliers
        if outliers is not None and outliers.due and (probed := outliers.take(now, _is_repeatable(call))) is not None:
            return probed
        if self._only is not None:
            return self._only
        balancer = self._balancer
        if balancer is None:
            return None
        if self._key is None and not self._slow:
            return balancer.pick(NOBODY, None, now)
        return self._choose(balancer, NOBODY, now, call, peer)

    def _choose(
        self, balancer: Balancer, avoid: Collection[Endpoint], now: float, call: Call | None, peer: Peer | None
    ) -> Endpoint:
        key = None if self._key is None else self._key.key(call, peer)
        endpoint = balancer.pick(avoid, key, now)
        if self._slow and now - endpoint.risen < self._slow:
            return warmed(balancer, endpoint, self._slow, avoid, key, now)
        return endpoint

    def pick_dialled(self, to: tuple[str, int], now: float) -> Endpoint | None:
        """The very endpoint that a caller has dialled, ready or not; None when it is gone. Counted as `pick` does."""
        if (by_address := self._by_address) is None:
            endpoints = self.endpoints.values()
            self._by_address = by_address = {(canonical(one.address[0]), one.address[1]): one for one in endpoints}
        budget = self.budget
        if now >= budget.edge:
            budget.advance(now)
        budget.current += 1
        endpoint = by_address.get(to)
        if self.outliers is not None and self.outliers.due and endpoint is not None:
            self.outliers.take_dialled(endpoint, now)
        return endpoint

    def pick_other(
        self, failed: Collection[Endpoint], now: float = 0.0, call: Call | None = None, peer: Peer | None = None
    ) -> Endpoint | None:
        """An endpoint for a retry: one that did not fail, if there is one."""
        return None if self._balancer is None else self._choose(self._balancer, failed, now, call, peer)

    def __repr__(self) -> str:
        return f"<Backend {self.name} {len(self.endpoints)} endpoints {self.budget!r}>"


def _is_repeatable(call: Call | None) -> bool:
    """Could the request be sent again elsewhere? Of a connection that is relayed nothing has been sent yet."""
    return call is None or call.request.method in REPEATABLE or KEY in call.request.fields.index


def within(spec: BackendSpec, labels: Mapping[str, str]) -> bool:
    """Does an endpoint with these labels belong to the subset that is called?"""
    return not spec.subset or spec.subset.items() <= labels.items()


def _at_once(spec: BackendSpec, members: Sequence[Endpoint]) -> HashedBalancer | None:
    """The table, where nobody has built it in steps: for few endpoints."""
    steps = prepare(spec.balancing, members, [one.weight for one in members], None)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            table: HashedBalancer | None = done.value
            return table


def canonical(address: str) -> str:
    """An IP literal as the kernel's addresses are written here; what is none stays as it is."""
    try:
        return str(ip_address(address)) if ":" in address else address
    except ValueError:
        return address
