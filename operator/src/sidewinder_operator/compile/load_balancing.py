"""Section `loadBalancing`: times become seconds, lists become names; what is written says all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sidewinder_operator.compile.sections import Built, Row, read_spec
from sidewinder_operator.mesh.load_balancing import MeshLoadBalancing
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.load_balancing import HashKey, LoadBalancing
from sidewinder_operator.resources.load_balancing import PeakEWMA as WrittenPeakEWMA
from sidewinder_operator.resources.quantity import seconds
from sidewinder_sidecar.snapshot import upstreams


def build(written: LoadBalancing, _cluster: Cluster, _namespace: str) -> Built:
    """The section as meant."""
    locality = written.locality
    meant = MeshLoadBalancing(
        balancing=_BALANCING[written.type](written),
        slow_start=seconds(written.slow_start),
        subset={label.name: label.value for label in sorted(written.subset, key=lambda label: label.name)},
        locality=upstreams.LocalitySpec(failover=locality.failover) if locality is not None else None,
    )
    return meant, ()


def _peak_ewma(written: LoadBalancing) -> upstreams.Balancing:
    options = written.peak_ewma or WrittenPeakEWMA()
    return upstreams.PeakEWMA(decay=seconds(options.decay), start=seconds(options.start_latency))


def _ring_hash(written: LoadBalancing) -> upstreams.Balancing:
    ring = written.ring_hash
    assert ring is not None  # a rule of its type
    return upstreams.RingHash(
        keys=tuple(map(_key, ring.keys)),
        min_size=ring.min_size,
        max_size=ring.max_size,
        balance_factor=ring.balance_factor or 0,
    )


def _maglev(written: LoadBalancing) -> upstreams.Balancing:
    table = written.maglev
    assert table is not None  # a rule of its type
    return upstreams.Maglev(
        keys=tuple(map(_key, table.keys)), table_size=table.table_size, balance_factor=table.balance_factor or 0
    )


_BALANCING: Mapping[str, Callable[[LoadBalancing], upstreams.Balancing]] = {
    "RoundRobin": lambda _: upstreams.RoundRobin(),
    "LeastRequest": lambda _: upstreams.LeastRequest(),
    "Random": lambda _: upstreams.Random(),
    "PeakEWMA": _peak_ewma,
    "RingHash": _ring_hash,
    "Maglev": _maglev,
}


def _key(written: HashKey) -> upstreams.HashKey:
    if written.header is not None:
        return upstreams.HeaderKey(written.header.name)
    if written.cookie is not None:
        return upstreams.CookieKey(written.cookie.name, int(seconds(written.cookie.ttl)))
    if written.claim is not None:
        return upstreams.ClaimKey(written.claim.name)
    return upstreams.SourceKey()


ROW = Row("loadBalancing", LoadBalancing, read_spec("loadBalancing"), build)
