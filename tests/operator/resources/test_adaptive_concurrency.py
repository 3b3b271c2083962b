"""adaptiveConcurrency: a target that can be kept, and bounds in their order."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidewinder_operator.resources.adaptive_concurrency import AdaptiveConcurrency


def broken(written: dict[str, Any]) -> list[str]:
    found = msgspec.convert(written, AdaptiveConcurrency)
    return [field for rule in AdaptiveConcurrency.RULES for field in rule.find(found)]


def test_the_manifest_of_the_design() -> None:
    written = {"targetLatency": "100ms", "priorityHeader": "x-priority"}
    found = msgspec.convert(written, AdaptiveConcurrency)
    assert (found.target_latency, found.priority_header) == ("100ms", "x-priority")
    assert (found.min_concurrency, found.max_concurrency) == (3, 1000)
    assert broken(written) == []


@pytest.mark.parametrize(
    ("written", "fields"),
    [
        ({"targetLatency": "0s"}, ["targetLatency"]),
        ({"targetLatency": "2m"}, ["targetLatency"]),
        ({"targetLatency": "1ms"}, []),
        ({"targetLatency": "1m"}, []),
        ({"targetLatency": "1s", "minConcurrency": 5, "maxConcurrency": 4}, ["minConcurrency"]),
        ({"targetLatency": "1s", "minConcurrency": 4, "maxConcurrency": 4}, []),
    ],
)
def test_what_makes_no_sense(written: dict[str, Any], fields: list[str]) -> None:
    assert broken(written) == fields


@pytest.mark.parametrize(
    "written",
    [{}, {"targetLatency": "fast"}, {"targetLatency": "1s", "minConcurrency": 0}, {"targetLatency": "1s", "x": 1}],
    ids=["no target", "no duration", "no floor", "unknown"],
)
def test_what_cannot_be_read(written: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(written, AdaptiveConcurrency)
