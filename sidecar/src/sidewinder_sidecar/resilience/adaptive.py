"""How many requests an application takes at once, found out from how long it takes for them. Time is an argument.

Asked by `filters/adaptive_concurrency`, which tells of every request that it let in. A gradient, as in Netflix's
concurrency-limits (Gradient2) and Envoy's adaptive concurrency filter, with a bound that a person can name:

* Requests are looked at in windows. A window's latency is the median of what was measured in it.
* As long as that is within the target, nothing is slow: the limit grows by its square root, if it was made use of.
* Above it, the limit shrinks by the gradient, `expected / latency`, never below a half in one window.
* `expected` is the target; or, for an application that does not keep it even when it is asked little, half as much
  again as it takes then: fewer requests would not make that one faster, only fewer. That is found out by trying: when
  half as many run as did when it was too slow, it must be faster by a quarter; or at the floor.
* A body that is on its way for long, in or out, is not the application's work: a download, a stream of events, a caller
  that sends or reads slowly. Where there is no room it gives up its place, or a hundred of them would shut everybody
  out (`relieve`).

A fifth of each step is taken. What is never refused, `least`, and the end of growth, `most`, are the policy's.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import TYPE_CHECKING, Final, Protocol

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
FASTER: Final = 0.75  # with half as many, if it is they who make it slow; a queue alone would make it a half
PASSING: Final = 1.0  # seconds that a body holds a place in any case: an answer that is computed while it is sent
REMEMBERED: Final = 0.1  # weight of one window in what is usual: a second or two

LOW: Final = 0.6  # of the limit: from here on the low ones are refused, when there is still room for the others
NORMAL: Final = 0.9  # what is left over is for the high ones
HIGH: Final = 1.0


class Passing(Protocol):
    """A request that runs, of which a body is on its way."""

    def give_up(self) -> None: ...  # its place


class Gradient:
    """`admits`, then `enter`, then `leave`: once for each request; `measured` in between, if it says something.

    `passing`: whose bodies are on their way since when, the oldest first; kept by those.
    """

    __slots__ = (
        "_busiest", "_ends", "_fewer_since", "_samples", "_slow", "_slow_at", "limit", "passing", "running", "spec",
        "usual",
    )  # fmt: skip

    def __init__(self, spec: AdaptiveConcurrencySpec, now: float) -> None:
        self.running = 0
        self.usual = 0.0  # seconds that it takes at least, where that is more than the target; 0.0: it is not
        self._slow = 0.0  # the longest that it took since it is too slow; 0.0: it is not
        self._slow_at = 0  # the most that ran then
        self._fewer_since = 0.0  # half as many; 0.0: not yet
        self._samples: list[float] = []
        self.passing: dict[Passing, float] = {}
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

    def relieve(self, now: float) -> bool:
        """There is no room: do some only hold on to a place? Then there is now."""
        before = self.running
        while self.passing:
            one, since = next(iter(self.passing.items()))
            if now - since < PASSING:
                break
            del self.passing[one]
            one.give_up()
        return self.running < before

    def leave(self) -> None:
        """It runs no more."""
        self.running -= 1

    def measured(self, now: float, seconds: float) -> None:
        """The application has taken so long for one."""
        samples = self._samples
        if len(samples) < MOST_KEPT:
            samples.append(seconds)
        if now >= self._ends and len(samples) >= FEWEST:
            self._judge(sorted(samples)[len(samples) // 2], now)
            samples.clear()
            self._busiest = self.running
            self._ends = now + WINDOW

    def _judge(self, latency: float, now: float) -> None:
        spec, limit = self.spec, self.limit
        if latency < self.usual or (limit <= spec.least and latency > spec.target_latency):
            self.usual += (latency - self.usual) * REMEMBERED
        if latency <= spec.target_latency:
            self._slow = 0.0
        else:
            self._try_fewer(latency, now)
        expected = max(spec.target_latency, TOLERANCE * self.usual)
        if latency > expected:
            step = limit * max(STEEPEST, expected / latency) - limit
        elif self._busiest < limit / 2:
            return  # nobody knows what it would do with more
        else:
            step = sqrt(limit)
        self.limit = min(max(limit + step * SMOOTHING, spec.least), spec.most)

    def _try_fewer(self, latency: float, now: float) -> None:
        """It is too slow. When half as many run, and those that came before are through: is it any faster?"""
        fewer = self._busiest <= self._slow_at / 2
        if fewer and self._fewer_since and now - self._fewer_since >= self._slow:
            if latency > FASTER * self._slow and latency > self.usual:
                self.usual = latency
            self._slow, fewer = 0.0, False
        if not self._slow:
            self._slow_at, self._fewer_since = self._busiest, 0.0
        self._slow = max(self._slow, latency)  # what came when most ran, is told later
        if not fewer:
            self._slow_at, self._fewer_since = max(self._slow_at, self._busiest), 0.0
        elif not self._fewer_since:
            self._fewer_since = now

    def __repr__(self) -> str:
        return f"<Gradient {self.running} of {self.limit:.1f}, usually {self.usual * 1000:.1f} ms>"


NAME: Final = "adaptive_concurrency"  # in the process's memory of what outlives plans: Gradient by policy and target


def limits(memory: Mapping[str, dict[str, Gradient]]) -> Iterator[tuple[dict[str, str], float]]:
    """For metrics: what is found right now, by policy and target."""
    for gradient in memory.get(NAME, {}).values():
        yield _labels(gradient), gradient.limit


def running(memory: Mapping[str, dict[str, Gradient]]) -> Iterator[tuple[dict[str, str], float]]:
    """For metrics: what runs against it."""
    for gradient in memory.get(NAME, {}).values():
        yield _labels(gradient), gradient.running


def _labels(gradient: Gradient) -> dict[str, str]:
    return {"policy": gradient.spec.policy, "target": gradient.spec.target}
