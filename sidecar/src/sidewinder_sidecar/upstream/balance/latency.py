"""What an endpoint answers in: a peak-sensitive moving average. Kept by the endpoint, asked by `peak_ewma`.

A slower answer than expected counts whole and at once; a faster one by how long ago the last was, e^(-t/decay) of the
old value staying. So one bad answer moves load away now, and trust comes back slowly. Source: Finagle's PeakEwma.

It observes its endpoint as the breaker does (`settled`, once an attempt). A failure counts as an answer that took a
second, or four times as long as usual: who fails fast would else look fast, and of two endpoints draw all requests to
itself. It enters the average as fast answers do, by time: one failure in a hundred is hardly seen, nothing but failures
is within a second, and who fails whenever it is asked is asked about twice a minute.
"""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidewinder_sidecar.snapshot.upstreams import PeakEWMA

FAILED_SECONDS: Final = 1.0  # more than nearly everybody takes to answer
FAILED_TIMES: Final = 4  # the average of who fails a quarter of the time grows on and on
MOST_SECONDS: Final = 600.0


class Latency:
    """Seconds; time is an argument."""

    __slots__ = ("_at", "_decay", "_seconds", "spec")

    def __init__(self, spec: PeakEWMA, now: float) -> None:
        self._seconds = spec.start
        self._at = now
        self._decay = spec.decay
        self.spec = spec

    def settled(self, status: int, error: str, now: float, seconds: float) -> None:
        """One attempt is over."""
        if error == "caller_gone":  # nothing was found out
            return
        if seconds >= self.expected(now):
            self._seconds = seconds
        if error or status >= 500:
            seconds = max(seconds, min(max(FAILED_SECONDS, FAILED_TIMES * self._seconds), MOST_SECONDS))
        stays = exp((self._at - now) / self._decay) if now > self._at else 1.0
        self._seconds = self._seconds * stays + seconds * (1.0 - stays)
        self._at = max(now, self._at)

    def expected(self, now: float) -> float:
        """What an answer would take now. What nobody measures falls to nothing: who was slow once is asked again."""
        return self._seconds * exp((self._at - now) / self._decay) if now > self._at else self._seconds

    def __repr__(self) -> str:
        return f"<Latency {self._seconds * 1000:.3g} ms>"
