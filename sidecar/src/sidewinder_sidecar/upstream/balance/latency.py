"""What an endpoint answers in: a peak-sensitive moving average. Kept by the endpoint, asked by `peak_ewma`.

A slower answer than expected counts whole and at once; a faster one by how long ago the last was, e^(-t/decay) of the
old value staying. So one bad answer moves load away now, and trust comes back slowly. Source: Finagle's PeakEwma.

It observes its endpoint as the breaker does (`settled`, once an attempt). A failure never lowers the average: who fails
fast would else look fast, and draw all requests to itself.
"""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidewinder_sidecar.snapshot.upstreams import PeakEWMA


class Latency:
    """Seconds; time is an argument."""

    __slots__ = ("_at", "_decay", "_seconds", "spec")

    def __init__(self, spec: PeakEWMA, now: float) -> None:
        self.spec = spec
        self._decay = spec.decay
        self._seconds = spec.start
        self._at = now

    def settled(self, status: int, error: str, now: float, seconds: float) -> None:
        """One attempt is over."""
        if error == "caller_gone":  # nothing was found out
            return
        expected = self.expected(now)
        if seconds >= expected:
            self._seconds = seconds
        elif error or status >= 500:
            self._seconds = expected
        else:
            stays = exp((self._at - now) / self._decay) if now > self._at else 1.0
            self._seconds = self._seconds * stays + seconds * (1.0 - stays)
        self._at = max(now, self._at)

    def expected(self, now: float) -> float:
        """What an answer would take now. What nobody measures falls to nothing: who was slow once is asked again."""
        return self._seconds * exp((self._at - now) / self._decay) if now > self._at else self._seconds

    def __repr__(self) -> str:
        return f"<Latency {self._seconds * 1000:.3g} ms>"
