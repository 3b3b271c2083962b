"""Section `loadBalancing`: times become seconds, lists become names; what is written says all of it."""

from __future__ import annotations

from collections.abc import Mapping

from sidewinder_operator.compile.sections import Built, Fault, Row, read_spec
from sidewinder_operator.mesh.load_balancing import MeshLoadBalancing
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.load_balancing import HashKey, LoadBalancing
from sidewinder_operator.resources.load_balancing import Maglev as WrittenMaglev
from sidewinder_operator.resources.load_balancing import PeakEWMA as WrittenPeakEWMA
from sidewinder_operator.resources.load_balancing import RingHash as WrittenRingHash
from sidewinder_operator.resources.quantity import seconds
from sidewinder_sidecar.snapshot import upstreams


def build(written: LoadBalancing, _cluster: Cluster, _namespace: str) -> Built:
    """The section as meant."""
    balancing = _balancing(written)
    if isinstance(balancing, Fault):
        return None, (balancing,)
    locality = written.locality
    meant = MeshLoadBalancing(
        balancing=balancing,
        slow_start=seconds(written.slow_start),
        subset={label.name: label.value for label in sorted(written.subset, key=lambda label: label.name)},
        locality=upstreams.LocalitySpec(failover=locality.failover) if locality is not None else None,
    )
    return meant, ()


def _balancing(written: LoadBalancing) -> upstreams.Balancing | Fault:
    """The algorithm with what belongs to it. That a hash has its section is a rule of its type; compile relies on no
    rule, since what it is given may be older than the rule."""
    if written.type == "PeakEWMA":
        return _peak_ewma(written.peak_ewma or WrittenPeakEWMA())
    if written.type == "RingHash":
        return _ring_hash(written.ring_hash) if written.ring_hash is not None else _missing("ringHash")
    if written.type == "Maglev":
        return _maglev(written.maglev) if written.maglev is not None else _missing("maglev")
    return _SIMPLE[written.type]


_SIMPLE: Mapping[str, upstreams.Balancing] = {
    "RoundRobin": upstreams.RoundRobin(),
    "LeastRequest": upstreams.LeastRequest(),
    "Random": upstreams.Random(),
}


def _missing(field: str) -> Fault:
    return Fault(field, "Invalid", f"{field} is missing: a hash needs keys")


def _peak_ewma(options: WrittenPeakEWMA) -> upstreams.PeakEWMA:
    return upstreams.PeakEWMA(decay=seconds(options.decay), start=seconds(options.start_latency))


def _ring_hash(ring: WrittenRingHash) -> upstreams.RingHash:
    return upstreams.RingHash(
        keys=tuple(map(_key, ring.keys)),
        min_size=ring.min_size,
        max_size=ring.max_size,
        balance_factor=ring.balance_factor or 0,
    )


def _maglev(table: WrittenMaglev) -> upstreams.Maglev:
    return upstreams.Maglev(
        keys=tuple(map(_key, table.keys)), table_size=table.table_size, balance_factor=table.balance_factor or 0
    )


def _key(written: HashKey) -> upstreams.HashKey:
    if written.header is not None:
        return upstreams.HeaderKey(written.header.name)
    if written.cookie is not None:
        return upstreams.CookieKey(written.cookie.name, int(seconds(written.cookie.ttl)))
    if written.claim is not None:
        return upstreams.ClaimKey(written.claim.name)
    return upstreams.SourceKey()


ROW = Row("loadBalancing", LoadBalancing, read_spec("loadBalancing"), build)
