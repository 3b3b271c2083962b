"""Endpoints that are checked, without sockets: what is asked of whom, and a site that is answered by hand."""

from __future__ import annotations

from sidewinder_sidecar.snapshot.checks import CheckSpec, ChecksSpec, HttpCheckSpec, key
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
from sidewinder_sidecar.upstream.health import (
    GATHER_SECONDS,
    Check,
    Checks,
)
from sidewinder_sidecar.wheel import Wheel
from tests.support.memory import Attempt, Clock, Endpoint

REVIEWS = "bookinfo/reviews:9080"
ONE = EndpointSpec(uid="one", address="10.0.0.1", port=9080)
TWO = EndpointSpec(uid="two", address="10.0.0.2", port=9080)
SAFE = EndpointSpec(uid="one", address="10.0.0.1", port=9080, identity="spiffe://cluster.local/ns/bookinfo/sa/reviews")
HTTP = HttpCheckSpec(path="/healthz?full", statuses=(200, 204))
REFUSED = (b"proxy-status", b'sidewinder; error=http_request_denied; details="no"')
BUSY = (b"proxy-status", b'sidewinder; error=connection_limit_reached; details="no"')


def name_of(spec: EndpointSpec) -> str:
    return key(REVIEWS, spec.uid, spec.address, spec.port)


def spec(*endpoints: EndpointSpec, http: HttpCheckSpec | None = HTTP, interval: float = 5.0) -> ChecksSpec:
    check = CheckSpec(
        name=REVIEWS, authority="reviews.bookinfo:9080", http=http, interval=interval, endpoints=endpoints
    )
    return ChecksSpec(checks=(check,))


class Site:
    """Checks without sockets; the middle of every spread is drawn: a first check begins after half an interval."""

    def __init__(self, followed: ChecksSpec) -> None:
        self.clock = Clock()
        self.wheel = wheel = Wheel(self.clock, self.clock.later)
        self.opened: list[Attempt] = []
        self.faults: list[str] = []
        self.told: list[dict[str, bool | None]] = []
        self.checks = Checks(
            wheel,
            lambda source, seconds: Endpoint(source, wheel, self.opened, self.faults),
            lambda low, high: (low + high) / 2,
        )
        self.deaf = False  # whoever hears reads nothing
        self.checks.connect(self.post)
        self.checks.follow(followed)

    def post(self, news: dict[str, bool | None]) -> bool:
        if not self.deaf:
            self.told.append(news)
        return not self.deaf

    def next(self) -> Attempt:
        """Lets time pass until another check has begun."""
        count = len(self.opened)
        for _ in range(1000):
            if len(self.opened) > count:
                return self.opened[-1]
            self.clock.advance(1 / 16)
        raise AssertionError("no check begins")

    def answer(self, status: int, times: int = 1) -> None:
        for _ in range(times):
            self.next()
            for attempt in self.opened:
                if not attempt.over:
                    attempt.answer(status, b"")

    def settle(self) -> list[dict[str, bool | None]]:
        """What was told, after what is gathered is."""
        self.clock.advance(GATHER_SECONDS + 0.05)
        told, self.told[:] = [*self.told], []
        return told

    @property
    def only(self) -> Check:
        (check,) = self.checks.checks.values()
        return check
