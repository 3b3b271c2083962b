"""loadBalancing: each type with what belongs to it, and none by default."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidewinder_operator.resources.load_balancing import LoadBalancing
from sidewinder_operator.resources.read import read
from tests.support.refusals import policy

USER = {"type": "Header", "header": {"name": "x-user"}}


def refused(section: dict[str, Any]) -> dict[str, str]:
    """Field below the section → reason."""
    return {
        problem.field.removeprefix("spec.loadBalancing").removeprefix("."): problem.reason
        for problem in read(policy(loadBalancing=section)).problems
    }


@pytest.mark.parametrize(
    "section",
    [
        {"type": "RoundRobin"},
        {"type": "LeastRequest", "locality": {}},
        {"type": "Maglev", "maglev": {"keys": [USER]}, "locality": {}},
        {"type": "Random", "subset": [{"name": "version", "value": "v2"}, {"name": "tier", "value": ""}]},
        {"type": "PeakEWMA", "slowStart": "30s"},
        {"type": "PeakEWMA", "peakEWMA": {"decay": "5s", "startLatency": "0s"}, "locality": {"failover": ["b", "c"]}},
        {"type": "RingHash", "ringHash": {"keys": [USER], "minSize": 8, "maxSize": 8, "balanceFactor": 125}},
        {"type": "Maglev", "maglev": {"keys": [USER, {"type": "Source"}], "tableSize": 5003}},
        {"type": "Maglev", "maglev": {"keys": [{"type": "Cookie", "cookie": {"name": "sid", "ttl": "1h"}}]}},
        {"type": "Maglev", "maglev": {"keys": [{"type": "Claim", "claim": {"name": "realm_access.id"}}]}},
    ],
    ids=lambda section: section["type"],
)
def test_what_may_be_written(section: dict[str, Any]) -> None:
    assert refused(section) == {}


@pytest.mark.parametrize(
    ("section", "problems"),
    [
        ({"type": "Maglev"}, {"maglev": "Required"}),
        ({"type": "RingHash"}, {"ringHash": "Required"}),
        ({"type": "RingHash", "ringHash": {"keys": []}}, {"ringHash.keys": "TooFew"}),
        ({"type": "Random", "peakEWMA": {}}, {"peakEWMA": "Invalid"}),
        ({"type": "Random", "maglev": {"keys": [USER]}}, {"maglev": "Invalid"}),
        ({"type": "PeakEWMA", "slowStart": "2h"}, {"slowStart": "OutOfRange"}),
        ({"type": "PeakEWMA", "peakEWMA": {"decay": "1ms"}}, {"peakEWMA.decay": "OutOfRange"}),
        ({"type": "PeakEWMA", "peakEWMA": {"startLatency": "2m"}}, {"peakEWMA.startLatency": "OutOfRange"}),
        (
            {"type": "RingHash", "ringHash": {"keys": [USER], "minSize": 9, "maxSize": 8}},
            {"ringHash.minSize": "Invalid"},
        ),
        ({"type": "Maglev", "maglev": {"keys": [USER], "tableSize": 65_536}}, {"maglev.tableSize": "Invalid"}),
        ({"type": "Maglev", "maglev": {"keys": [USER], "balanceFactor": 100}}, {"maglev.balanceFactor": "OutOfRange"}),
        ({"type": "Maglev", "maglev": {"keys": [{"type": "Header"}]}}, {"maglev.keys[0].header": "Required"}),
        (
            {"type": "Random", "subset": [{"name": "a", "value": "b"}, {"name": "a", "value": "c"}]},
            {"subset[1].name": "Duplicate"},
        ),
    ],
    ids=lambda value: next(iter(value)) if "type" not in value else None,
)
def test_what_may_not(section: dict[str, Any], problems: dict[str, str]) -> None:
    assert refused(section) == problems


def test_a_type_is_required() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({}, LoadBalancing)
