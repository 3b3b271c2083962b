"""loadBalancing: each written algorithm has its meaning."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidewinder_operator.compile.load_balancing import build
from sidewinder_operator.mesh.load_balancing import MeshLoadBalancing
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.load_balancing import LoadBalancing
from sidewinder_sidecar.snapshot.upstreams import (
    Balancing,
    ClaimKey,
    CookieKey,
    HeaderKey,
    LeastRequest,
    LocalitySpec,
    Maglev,
    PeakEWMA,
    Random,
    RingHash,
    RoundRobin,
    SourceKey,
)

KEYS = [
    {"type": "Header", "header": {"name": "X-User"}},
    {"type": "Cookie", "cookie": {"name": "sid", "ttl": "1h"}},
    {"type": "Claim", "claim": {"name": "sub"}},
    {"type": "Source"},
]
SENT = (HeaderKey("X-User"), CookieKey("sid", 3600), ClaimKey("sub"), SourceKey())


@pytest.mark.parametrize(
    ("written", "balancing"),
    [
        ({"type": "RoundRobin"}, RoundRobin()),
        ({"type": "LeastRequest"}, LeastRequest()),
        ({"type": "Random"}, Random()),
        ({"type": "PeakEWMA"}, PeakEWMA()),
        ({"type": "PeakEWMA", "peakEWMA": {"decay": "5s", "startLatency": "1s"}}, PeakEWMA(decay=5.0, start=1.0)),
        ({"type": "RingHash", "ringHash": {"keys": KEYS}}, RingHash(keys=SENT)),
        (
            {"type": "RingHash", "ringHash": {"keys": KEYS[3:], "minSize": 8, "maxSize": 16, "balanceFactor": 125}},
            RingHash(keys=SENT[3:], min_size=8, max_size=16, balance_factor=125),
        ),
        ({"type": "Maglev", "maglev": {"keys": KEYS}}, Maglev(keys=SENT)),
        (
            {"type": "Maglev", "maglev": {"keys": KEYS[:1], "tableSize": 5003, "balanceFactor": 200}},
            Maglev(keys=SENT[:1], table_size=5003, balance_factor=200),
        ),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_the_algorithm(written: dict[str, Any], balancing: Balancing) -> None:
    section = msgspec.convert(written, LoadBalancing)
    assert build(section, Cluster(), "shop") == (MeshLoadBalancing(balancing=balancing), ())


def test_what_holds_for_each_algorithm() -> None:
    section = msgspec.convert(
        {
            "type": "LeastRequest",
            "slowStart": "1m30s",
            "locality": {"failover": ["b", "a"]},
            "subset": [{"name": "version", "value": "v2"}, {"name": "tier", "value": ""}],
        },
        LoadBalancing,
    )
    meant, faults = build(section, Cluster(), "shop")
    assert faults == ()
    assert (meant.slow_start, meant.locality) == (90.0, LocalitySpec(failover=("b", "a")))
    assert list(meant.subset.items()) == [("tier", ""), ("version", "v2")]  # sorted: the same bytes for the same policy


@pytest.mark.parametrize(("kind", "field"), [("RingHash", "ringHash"), ("Maglev", "maglev")])
def test_a_hash_without_its_section_is_a_fault_and_no_bug(kind: str, field: str) -> None:
    """No reader lets it pass; an object that was stored before the rule has not met the reader."""
    section = msgspec.convert({"type": kind}, LoadBalancing)
    meant, faults = build(section, Cluster(), "shop")
    assert meant is None
    assert [(fault.field, fault.reason) for fault in faults] == [(field, "Invalid")]
