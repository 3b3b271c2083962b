"""What a load client counted: one line per failure when it happens, one summary at the end.

Called by load.py; calls nothing. The summary is what tests assert on, the lines are what a person reads first.
"""

from __future__ import annotations

import array
import collections
import json
import time
from collections.abc import Callable

# The report of a run that fails throughout need not fill the node's disk; the summary counts on.
LINES = 1000


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    if not ordered:
        return 0.0
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)]


class Tally:
    """Counts of one run."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._begin = time.monotonic()
        self._milliseconds = array.array("d")
        self._by = {name: collections.Counter[str]() for name in ("status", "pods", "versions")}
        self.failures = 0
        self.stale = 0

    @property
    def requests(self) -> int:
        return len(self._milliseconds) + self.failures

    def passed(self, status: str, seconds: float, pod: str, version: str) -> None:
        self._milliseconds.append(seconds * 1000)
        for name, value in (("status", status), ("pods", pod), ("versions", version)):
            self._by[name][value] += 1

    def failed(self, number: int, what: str, **details: object) -> None:
        self.failures += 1
        self._by["status"][what] += 1
        if self.failures <= LINES:
            self._write(json.dumps({"at": round(time.time(), 3), "request": number, "failure": what} | details))

    def summary(self) -> dict[str, object]:
        ordered, seconds = sorted(self._milliseconds), time.monotonic() - self._begin
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
        return {
            "requests": self.requests,
            "failures": self.failures,
            "stale": self.stale,
            "seconds": round(seconds, 3),
            "per_second": round(self.requests / seconds, 1) if seconds else 0.0,
            "latency_ms": {name: round(percentile(ordered, share), 3) for name, share in shares.items()},
        } | {name: dict(counts) for name, counts in self._by.items()}
