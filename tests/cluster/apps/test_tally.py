"""What a load client counts."""

from __future__ import annotations

import json

import pytest

from tests.cluster.apps.tally import LINES, Tally, percentile


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, 0.0), ([1.0], 0.99, 1.0), ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0), ([1.0, 2.0, 3.0, 4.0], 1.0, 4.0)],
)
def test_percentile(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_a_summary_counts_by_status_pod_and_version() -> None:
    lines: list[str] = []
    tally = Tally(lines.append)
    tally.passed("200", 0.002, "a", "v1")
    tally.passed("200", 0.004, "b", "v1")
    tally.failed(2, "timeout", seconds=10)
    summary = tally.summary()
    assert (summary["requests"], summary["failures"]) == (3, 1)
    assert summary["status"] == {"200": 2, "timeout": 1}
    assert summary["pods"] == {"a": 1, "b": 1}
    assert summary["latency_ms"] == {"p50": 2.0, "p90": 4.0, "p99": 4.0, "max": 4.0}
    assert json.loads(lines[0])["seconds"] == 10


def test_lines_are_bounded_and_counts_are_not() -> None:
    lines: list[str] = []
    tally = Tally(lines.append)
    for number in range(LINES + 5):
        tally.failed(number, "status 503")
    assert (len(lines), tally.failures) == (LINES, LINES + 5)
