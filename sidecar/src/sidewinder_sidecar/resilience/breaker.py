"""One endpoint's circuit breaker: which tries have failed, and when that is too much. `outlier` says what follows.

Told by the endpoint how each try went. Closed: counts. Open: ejected until a time. Half-open: exactly one real request,
the probe, finds out, which is known by when it began; what others tell meanwhile was sent before, or in a panic.
pybreaker holds the state; a breaker that was never open has no circuit yet, so thousands of them cost little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from sidewinder_sidecar.errors import TABLE

if TYPE_CHECKING:
    from sidewinder_sidecar.snapshot.upstreams import BreakerSpec, FailureRateSpec
    from sidewinder_sidecar.wheel import Slot, Wheel

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half-open"

BUCKETS: Final = 10  # the window moves in tenths, as a retry budget's does
PATIENCE: Final = (
    5.0  # seconds at least that a probe is waited for, else as long as the endpoint was ejected; then doubled
)
SAME: Final = 1e-6  # seconds: what is left of a time after it was added to and taken from; no two tries are so near

WELL: Final = 0
FAILED: Final = 1
UNKNOWN: Final = 2  # the caller left, or what happened is not for this policy to count

# What counts as what a policy names, beyond what the error table says for retries.
BEYOND: Final[dict[str, tuple[str, ...]]] = {
    "Reset": ("incomplete", "response_headers_too_large", "upgrade_failed"),
    "Timeout": ("deadline", "idle"),
}


class Observer(Protocol):
    """Who is told how tries went."""

    def settled(self, status: int, error: str, now: float, seconds: float) -> None: ...


class Member(Protocol):
    """What a breaker needs of an endpoint."""

    address: tuple[str, int]
    ejected: bool
    healthy: bool
    probing: bool
    ready: bool
    wheel: Wheel

    def judge(self) -> None: ...
    def watch(self, observer: Observer) -> None: ...
    def unwatch(self, observer: Observer) -> None: ...


M = TypeVar("M", bound=Member)


class Rules:
    """A BreakerSpec made fast: what is a failure."""

    __slots__ = ("codes", "errors", "spec")

    def __init__(self, spec: BreakerSpec) -> None:
        self.spec = spec
        self.codes = frozenset(spec.codes)
        named = [error for error, rule in TABLE.items() if rule.retry in spec.conditions]
        self.errors = frozenset(named).union(*[BEYOND.get(condition, ()) for condition in spec.conditions])

    def verdict(self, status: int, error: str) -> int:
        """WELL, FAILED or UNKNOWN."""
        if error:
            return FAILED if error in self.errors else UNKNOWN
        return FAILED if status in self.codes else WELL


class Window:
    """Tries and failures of the last seconds.

    What the present bucket holds is what the sums have grown by since it began. So counting touches nothing but the
    window itself: of a thousand endpoints, none of whose windows is in the processor's caches, lists would cost more
    than the counting.
    """

    __slots__ = ("_failed", "_failed_before", "_number", "_span", "_tries", "_tries_before", "failed", "tries")

    def __init__(self, interval: float, now: float) -> None:
        self._span = interval / BUCKETS
        self._number = int(now / self._span)
        self.tries = self._tries_before = 0
        self.failed = self._failed_before = 0
        self._tries = [0] * BUCKETS
        self._failed = [0] * BUCKETS

    def count(self, now: float, failed: int) -> None:
        """One more; `failed` is 0 or 1."""
        number = int(now / self._span)
        if number != self._number:
            self._advance(number)
        self.tries += 1
        self.failed += failed

    def _advance(self, number: int) -> None:
        place = self._number % BUCKETS
        self._tries[place] += self.tries - self._tries_before
        self._failed[place] += self.failed - self._failed_before
        for passed in range(max(self._number + 1, number - BUCKETS + 1), number + 1):
            place = passed % BUCKETS
            self.tries -= self._tries[place]
            self.failed -= self._failed[place]
            self._tries[place] = self._failed[place] = 0
        self._number = number
        self._tries_before, self._failed_before = self.tries, self.failed


class Ejects(Protocol[M]):
    """Who decides over all of a backend's breakers: `outlier`."""

    rules: Rules

    def trip(self, breaker: Breaker[M], why: str, now: float) -> None: ...
    def offer(self, breaker: Breaker[M], now: float) -> None: ...
    def probed(self, breaker: Breaker[M], well: bool, why: str, now: float) -> None: ...


class Breaker(Generic[M]):
    """`since` and `until` are monotonic seconds; `times` it has opened in a row, for so long as it is remembered."""

    __slots__ = (
        "_circuit", "_outliers", "_patience", "_slot", "closed_at", "consecutive", "lasted", "member", "probes",
        "since", "state", "times", "until", "why", "window",
    )  # fmt: skip

    def __init__(self, member: M, outliers: Ejects[M], now: float) -> None:
        # what each try looks at lies together
        self._outliers = outliers
        self.state = CLOSED  # as the circuit last told
        self.window: Window | None = None
        self.consecutive = 0
        self.member = member
        self._circuit: Any = None  # of pybreaker
        self._slot: Slot | None = None
        self.times = 0
        self.lasted = self.since = self.until = self.closed_at = self._patience = 0.0
        self.probes: tuple[float, ...] = ()  # when those began that run
        self.why = ""
        self.renew(outliers.rules.spec.rate, now)

    def renew(self, rate: FailureRateSpec | None, now: float) -> None:
        """Other numbers from now on: the window begins anew, what is open stays open."""
        self.window = None if rate is None else Window(rate.interval, now)

    def settled(self, status: int, error: str, now: float, seconds: float) -> None:
        """How a try went."""
        verdict = self._outliers.rules.verdict(status, error)
        if self.state == CLOSED:
            if verdict != UNKNOWN:
                self._count(verdict, status, error, now)
        elif self.probes and (others := self._without(now - seconds)) != self.probes:
            self.probes = others
            self.member.probing = others != ()
            if verdict != UNKNOWN:
                self._outliers.probed(self, verdict == WELL, error or str(status), now)
            elif not others:
                self._outliers.offer(self, now)

    def _without(self, began: float) -> tuple[float, ...]:
        """The probes that run, but for the one that began then."""
        return tuple([at for at in self.probes if abs(began - at) >= SAME])

    def _count(self, verdict: int, status: int, error: str, now: float) -> None:
        if (window := self.window) is not None:
            window.count(now, verdict)
        if verdict == WELL:
            self.consecutive = 0
            return
        self.consecutive += 1
        if why := self._too_much(error or str(status)):
            self._outliers.trip(self, why, now)

    def _too_much(self, last: str) -> str:
        spec = self._outliers.rules.spec
        if 0 < spec.consecutive <= self.consecutive:
            return f"{self.consecutive} failures in a row, the last one {last}"
        window, rate = self.window, spec.rate
        if rate is None or window is None or window.tries < rate.min_requests:
            return ""
        if window.failed * 100 < rate.percent * window.tries:
            return ""
        return f"{window.failed} of {window.tries} requests failed in {rate.interval:g} s, the last one {last}"

    # Moved by `outlier`.

    def open(self, why: str, now: float, seconds: float) -> None:
        """Nobody calls it for so long."""
        self.why, self.until = why, now + seconds
        if self.state == CLOSED:
            self.since = now
        self.times += 1
        self.lasted = seconds
        self._move("open")
        self.probes = ()
        self.member.ejected = True
        self.member.probing = False
        self.member.judge()
        self._slot = self.member.wheel.at(self.until, self)

    def on_time(self, now: float) -> None:
        """The wheel: one may try; or the one that does is not waited for any more."""
        self._slot = None
        if self.state == OPEN:
            self._move("half_open")
            self._patience = max(self.lasted, PATIENCE)
            self._outliers.offer(self, now)
        elif self.probes:
            self._outliers.offer(self, now)

    def send(self, now: float) -> None:
        """A probe begins."""
        self.member.probing = True
        self.probes = (*self.probes, now)
        if self._slot is not None:
            self._slot.discard(self)
        self._slot = self.member.wheel.at(now + self._patience, self)
        self._patience *= 2.0  # an endpoint that never answers gets few

    def close(self, now: float) -> None:
        """As if nothing had been, but that it is remembered a while."""
        self.closed_at = now
        self.consecutive = 0
        self.renew(self._outliers.rules.spec.rate, now)
        self._move("close")
        self.probes = ()
        self.member.ejected = self.member.probing = False
        self.member.judge()

    def _move(self, verb: str) -> None:
        if self._slot is not None:
            self._slot.discard(self)
            self._slot = None
        if self._circuit is None:
            from sidewinder_sidecar.resilience.circuit import circuit

            host, port = self.member.address
            self._circuit = circuit(f"{host}:{port}", self._on_state)
        getattr(self._circuit, verb)()

    def _on_state(self, state: str) -> None:
        """What pybreaker's listener has heard."""
        self.state = state

    def __repr__(self) -> str:
        host, port = self.member.address
        return f"<Breaker {host}:{port} {self.state} {self.consecutive} in a row{', ' + self.why if self.why else ''}>"
