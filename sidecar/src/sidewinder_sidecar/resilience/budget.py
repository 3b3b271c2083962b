"""How many retries a backend may get: a share of its requests, and a few in any case. Kept by the fleet per backend.

Source: Gateway API GEP-3388. Retries help against single failures; when most requests fail they only multiply the load.
The backend counts requests (`current` is public for that: a call per request would cost more than the counting).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidewinder_sidecar.snapshot.upstreams import BudgetSpec

BUCKETS: Final = 10  # the interval moves in tenths: within 10 % of an exact window


class Budget:
    """`if now >= edge: advance(now)`, then `current += 1` for every request; `withdraw(now)` for every retry."""

    __slots__ = ("_filled", "_past", "_retries", "_span", "_tokens", "current", "edge", "spec")

    def __init__(self, spec: BudgetSpec, now: float) -> None:
        self.current = 0  # requests of the bucket that ends at `edge`
        self._retries = 0  # of the same bucket
        self._past: deque[tuple[float, int, int]] = deque()  # (end, requests, retries) of buckets, oldest first
        self._tokens = float(spec.min_count)  # what may be retried in any case
        self._filled = now
        self.renew(spec, now)

    def renew(self, spec: BudgetSpec, now: float) -> None:
        """Other numbers from now on; what was counted stays."""
        self.spec = spec
        self._span = spec.interval / BUCKETS
        self.edge = now + self._span

    def advance(self, now: float) -> None:
        """Close the bucket, forget those that left the interval."""
        if self.current or self._retries:
            self._past.append((self.edge, self.current, self._retries))
            self.current = self._retries = 0
        while self._past and self._past[0][0] <= now - self.spec.interval:
            self._past.popleft()
        self.edge = now + self._span

    def withdraw(self, now: float) -> bool:
        """Take one retry, if there is one."""
        spec = self.spec
        if now >= self.edge:
            self.advance(now)
        rate = spec.min_count / spec.min_interval
        self._tokens = min(float(spec.min_count), self._tokens + (now - self._filled) * rate)
        self._filled = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
        elif (self.retries() + 1) * 100 > spec.percent * self.requests():
            return False
        self._retries += 1
        return True

    def charge(self, now: float) -> bool:
        """A request that has just been counted is somebody else's retry: count it as one, too. False: there is no room
        for it, so it is sent, but not again."""
        self.current -= 1
        return self.withdraw(now)

    def requests(self) -> int:
        """Requests of the interval, retries not among them."""
        return self.current + sum(bucket[1] for bucket in self._past)

    def retries(self) -> int:
        """Retries of the interval."""
        return self._retries + sum(bucket[2] for bucket in self._past)

    def __repr__(self) -> str:
        return f"<Budget {self.retries()} retries of {self.requests()} requests>"
