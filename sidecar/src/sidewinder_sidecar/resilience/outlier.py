"""Which of a backend's endpoints are ejected: a breaker each, and what holds for all of them. Kept by the backend.

An endpoint opens for a time that doubles each time it opens in a row, then one real request probes it. Never more than
`max_ejected_percent` are ejected. With fewer than `min_healthy_percent` left, for whatever reason, all are used that
are ready (`calm`): a few that work would fall under the load of all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from random import random
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from sidewinder_sidecar.resilience.breaker import CLOSED, Breaker, Member, Rules

if TYPE_CHECKING:
    from sidewinder_sidecar.snapshot.upstreams import BreakerSpec

M = TypeVar("M", bound=Member)
C = TypeVar("C", bound=Member)

JITTER: Final = 0.2  # of an open time, taken off by chance: sidecars that saw one failure do not probe together
GRACE: Final = 1.0  # seconds for which a probe that could be repeated is waited for: it is lost to nobody
MOST_DOUBLINGS: Final = 32  # 5 s become 680 years: the maximum has cut it off long before, and nothing overflows


class Outliers(Generic[M]):
    """`reshape` is told when an endpoint's `usable` has changed; `due` are the half-open ones that want a request."""

    __slots__ = ("_away", "_population", "_reshape", "breakers", "due", "ejected", "ejections", "rules")

    def __init__(self, spec: BreakerSpec, reshape: Callable[[float], None]) -> None:
        self.rules = Rules(spec)
        self._reshape = reshape
        self._away = 0  # of the population, ejected: who is not ready is away anyway, and takes nobody's place
        self._population = 0
        self.breakers: dict[M, Breaker[M]] = {}
        self.due: deque[Breaker[M]] = deque()
        self.ejected = 0
        self.ejections = 0  # since the start

    def serve(self, spec: BreakerSpec, members: Iterable[M], now: float) -> None:
        """These are the endpoints now. Who stays keeps its state."""
        if spec != self.rules.spec:
            changed = spec.rate != self.rules.spec.rate
            self.rules = Rules(spec)
            for breaker in self.breakers.values() if changed else ():
                breaker.renew(spec.rate, now)
        before, self.breakers = self.breakers, {}
        for member in members:
            known = before.pop(member, None)
            if known is None:
                known = Breaker(member, self, now)
                member.watch(known)
            self.breakers[member] = known
        self._population = sum(member.ready for member in self.breakers)
        self._part(before.values(), now)
        self._away = sum(one.state != CLOSED and member.ready for member, one in self.breakers.items())
        self._within_bounds(now)

    def close(self, now: float) -> None:
        """No breakers any more."""
        gone, self.breakers = self.breakers, {}
        self._part(gone.values(), now)

    def _part(self, gone: Iterable[Breaker[M]], now: float) -> None:
        for breaker in gone:
            breaker.member.unwatch(breaker)  # what still runs there is nobody's business any more
            self._release(breaker, now)

    # What breakers tell.

    def trip(self, breaker: Breaker[M], why: str, now: float) -> None:
        """Too much has failed there: it is ejected, unless too many are."""
        if self._away >= self._allowed() or not breaker.member.ready:
            return
        if now - breaker.closed_at > breaker.lasted:  # closed for longer than it was open: it is forgiven
            breaker.times = 0
        self.ejected += 1
        self._away += 1
        self._open(breaker, why, now)
        self._reshape(now)

    def offer(self, breaker: Breaker[M], now: float) -> None:
        """The next request is its probe."""
        if breaker not in self.due:
            self.due.append(breaker)

    def probed(self, breaker: Breaker[M], well: bool, why: str, now: float) -> None:
        """The probe is back."""
        if breaker in self.due:
            self.due.remove(breaker)
        if not well:
            self._open(breaker, f"the probe failed: {why}", now)
            return
        self._release(breaker, now)
        self._reshape(now)

    def take(self, now: float, repeatable: bool = True) -> M | None:
        """The endpoint that this request is to probe; None if there is none after all. One that cannot be repeated
        elsewhere is no probe before it is clear that no other comes."""
        while self.due:
            breaker = self.due[0]
            member = breaker.member
            if member.ready and member.healthy:
                if not repeatable and now < breaker.until + GRACE:
                    return None
                self.due.popleft()
                breaker.send(now)
                return member
            self._release(breaker, now)  # nobody may call it: as it comes back it is called again
        return None

    def take_dialled(self, member: Member, now: float) -> None:
        """A caller has chosen this endpoint itself: if it waits for its probe, that is it."""
        for breaker in self.due:
            if breaker.member is member:
                self.due.remove(breaker)
                breaker.send(now)
                return

    def _open(self, breaker: Breaker[M], why: str, now: float) -> None:
        spec = self.rules.spec
        longest = min(spec.max_open_seconds, spec.open_seconds * 2.0 ** min(breaker.times, MOST_DOUBLINGS))
        self.ejections += 1
        breaker.open(why, now, longest * (1.0 - JITTER * random()))

    def _release(self, breaker: Breaker[M], now: float) -> None:
        if breaker.state == CLOSED:
            return
        self.ejected -= 1
        self._away -= breaker.member.ready
        if breaker in self.due:
            self.due.remove(breaker)
        breaker.close(now)

    def _allowed(self) -> int:
        return self._population * self.rules.spec.max_ejected_percent // 100

    def _within_bounds(self, now: float) -> None:
        """Fewer endpoints or another maximum: whoever would be let in first comes in at once."""
        over = self._away - self._allowed()
        if over > 0:
            opened = [one for one in self.breakers.values() if one.state != CLOSED and one.member.ready]
            for breaker in sorted(opened, key=_until)[:over]:
                self._release(breaker, now)

    def __repr__(self) -> str:
        return f"<Outliers {self.ejected} of {len(self.breakers)} ejected>"


def _until(breaker: Breaker[Any]) -> float:
    return breaker.until


def calm(usable: Sequence[C], members: Iterable[C], percent: int) -> tuple[Sequence[C], bool]:
    """Whom to use, and whether in a panic: fewer than `percent` of those that are ready are usable, so all of them."""
    ready = [member for member in members if member.ready]
    if ready and len(usable) * 100 < percent * len(ready):
        return ready, True
    if not usable and ready:
        return ready, True
    return usable, False
