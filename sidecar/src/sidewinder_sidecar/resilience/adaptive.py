"""How many requests an application takes at once, found out from how long it takes for them. Time is an argument.

Asked by `filters/adaptive_concurrency`, which tells of every request that it let in. A gradient, as in Netflix's
concurrency-limits (Gradient2) and Envoy's adaptive concurrency filter, with a bound that a person can name:

* Requests are looked at in windows. A window's latency is the median of what was measured in it.
* As long as that is within the target, nothing is slow: the limit grows by its square root, if it was made use of.
* Above it, the limit shrinks by the gradient, `expected / latency`, never below a half in one window.
* `expected` is the target; or, for an application that does not keep it even when it is asked little, half as much
  again as it takes then: fewer requests would not make that one faster, only fewer. That is learned while less than
  half of the limit runs, or at the floor; a start under full load begins with a guess, which fades.

A fifth of each step is taken. What is never refused, `least`, and the end of growth, `most`, are the policy's.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidewinder_sidecar.snapshot.policies import AdaptiveConcurrencySpec

BEGIN: Final = 100.0  # before anything is known: what a small application takes, so that a start refuses nobody
WINDOW: Final = 0.1  # seconds: the limit is halved in under a second
FEWEST: Final = 10  # measured ones that a window needs, else it goes on: Netflix's own number
MOST_KEPT: Final = 256  # of a window's: the median of these is that of all, and sorting them costs 20 µs
TOLERANCE: Final = 1.5  # Gradient2's: half as much again as usual is no sign of anything
STEEPEST: Final = 0.5  # Gradient2's: one window is no reason for more
SMOOTHING: Final = 0.2  # Gradient2's
FORGOTTEN: Final = 0.95  # of a guess remains after a window: it ends in a second, and then it is tried with less
REMEMBERED: Final = 0.1  # weight of one window in what is usual: a second or two

LOW: Final = 0.6  # of the limit: from here on the low ones are refused, when there is still room for the others
NORMAL: Final = 0.9  # what is left over is for the high ones
HIGH: Final = 1.0


class Gradient:
    """`admits`, then `enter`, then `leave`: once for each request."""

    __slots__ = ("_busiest", "_ends", "_learned", "_samples", "limit", "running", "spec", "usual")

    def __init__(self, spec: AdaptiveConcurrencySpec, now: float) -> None:
        self.running = 0
        self.usual = 0.0  # seconds, when little is asked; 0.0: not known yet
        self._learned = False  # not so: it is a guess, made when much was asked from the beginning
        self._samples: list[float] = []
        self._busiest = 0  # most that ran at once in this window
        self._ends = now + WINDOW
        self.limit = BEGIN
        self.renew(spec)

    def renew(self, spec: AdaptiveConcurrencySpec) -> None:
        """Other numbers from now on; what was found out stays."""
        self.spec = spec
        self.limit = min(max(self.limit, spec.least), spec.most)

    def admits(self, share: float = HIGH) -> bool:
        """Is there room for one more, of those that may use this share of the limit?"""
        return self.running < max(self.limit * share, self.spec.least)

    def enter(self) -> None:
        """One more runs."""
        self.running += 1
        if self.running > self._busiest:
            self._busiest = self.running

    def leave(self, now: float, seconds: float) -> None:
        """It runs no more, and has taken so long; less than 0: it says nothing of the application."""
        self.running -= 1
        samples = self._samples
        if seconds >= 0.0 and len(samples) < MOST_KEPT:
            samples.append(seconds)
        if now >= self._ends and len(samples) >= FEWEST:
            self._judge(sorted(samples)[len(samples) // 2])
            samples.clear()
            self._busiest = self.running
            self._ends = now + WINDOW

    def _judge(self, latency: float) -> None:
        spec, limit = self.spec, self.limit
        little = self._busiest < limit / 2
        alone = little or limit <= spec.least  # so few that it is not our load that makes it slow
        if not self.usual:
            self.usual = latency
        elif alone or latency < self.usual:
            self.usual += (latency - self.usual) * REMEMBERED
        elif not self._learned:
            self.usual *= FORGOTTEN
        self._learned = self._learned or alone
        expected = max(spec.target_latency, TOLERANCE * self.usual)
        if latency > expected:
            step = limit * max(STEEPEST, expected / latency) - limit
        elif little:
            return  # nobody knows what it would do with more
        else:
            step = sqrt(limit)
        self.limit = min(max(limit + step * SMOOTHING, spec.least), spec.most)

    def __repr__(self) -> str:
        return f"<Gradient {self.running} of {self.limit:.1f}, usually {self.usual * 1000:.1f} ms>"


NAME: Final = "adaptive_concurrency"  # in the process's memory of what outlives plans: Gradient by policy


def limits(memory: Mapping[str, dict[str, Gradient]]) -> Iterator[tuple[dict[str, str], float]]:
    """For metrics: what is found right now, by policy."""
    for policy, gradient in memory.get(NAME, {}).items():
        yield {"policy": policy}, gradient.limit


def running(memory: Mapping[str, dict[str, Gradient]]) -> Iterator[tuple[dict[str, str], float]]:
    """For metrics: what runs against it."""
    for policy, gradient in memory.get(NAME, {}).items():
        yield {"policy": policy}, gradient.running
