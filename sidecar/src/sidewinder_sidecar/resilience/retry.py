"""May this request be sent again, and when? A rule's RetrySpec made fast, asked by the exchange after a failed try.

What is asked for in a manifest comes on top of one thing that always holds: a kept connection that the upstream closed
just as a request went out (a stale one) costs a safe request nothing but a second try.
"""

from __future__ import annotations

import re
from random import random
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.errors import TABLE
from sidewinder_sidecar.messages import ANSWERING, CONNECT, UNSENT
from sidewinder_sidecar.snapshot.routes import IDEMPOTENT, RetrySpec

if TYPE_CHECKING:
    from sidewinder_sidecar.fields import Fields
    from sidewinder_sidecar.messages import Failure, Request, Response

KEY: Final = b"idempotency-key"
ATTEMPT: Final = b"x-sidewinder-attempt"  # which try this is, from the second on
MOST_ATTEMPTS: Final = 99  # a proxy of ours writes no larger number, and believes none
RETRY_AFTER: Final = b"retry-after"
RATE_LIMIT: Final = b"ratelimit"  # draft-ietf-httpapi-ratelimit-headers: `"default";r=0;t=30`
RATE_LIMIT_RESET: Final = b"ratelimit-reset"  # the same draft until its seventh version: `30`
LONGEST_PAUSE: Final = 10.0  # seconds that a caller is kept waiting for a retry; past it, it is told to wait itself
# no connection was made, not even a handshake begun: nobody was asked anything
UNASKED: Final = frozenset(("dns_error", "connect_refused", "connect_failed", "connect_timeout"))
STALE: Final = 2  # a second stale connection in a row happens when an upstream restarts, a third is a failure

LONGEST_DATE: Final = 64  # bytes; RFC 9110's longest has 33

# RFC 9110 knows whole seconds; some upstreams write parts of them, and mean it
_SECONDS: Final = re.compile(rb"[0-9]+(?:\.[0-9]+)?")


class Policy:
    """A compiled RetrySpec."""

    __slots__ = ("attempts", "backoff", "codes", "conditions", "max_backoff", "methods")

    def __init__(self, spec: RetrySpec) -> None:
        self.attempts = spec.attempts
        self.backoff = spec.backoff
        self.codes = frozenset(spec.codes)
        self.conditions = frozenset(spec.conditions)
        self.max_backoff = spec.max_backoff
        self.methods = frozenset(method.encode() for method in spec.methods)

    def allows(self, request: Request) -> bool:
        """May it be sent twice? By its method, or because the caller says so. A tunnel never."""
        return (request.method in self.methods or KEY in request.fields.index) and request.upgrade != b"connect"

    def covers(self, failure: Failure, retries: int) -> bool:
        """Is this what the rule wants retried, and is there a retry left?"""
        if failure.stage == ANSWERING:
            return False
        condition = TABLE[failure.error].retry
        if retries >= self.attempts:
            return False
        return condition in self.conditions or (condition == "Timeout" and TABLE[failure.error].status in self.codes)

    def delay(self, retries: int) -> float:
        """Full jitter: anything from nothing to the doubled backoff, so that callers do not come back together."""
        return random() * min(self.max_backoff, self.backoff * 2.0 ** min(retries, 32))


def is_stale(failure: Failure, stale: int) -> bool:
    """Was it a kept connection that had died unseen? Retried without asking policy or budget: no load was added."""
    return failure.stage == UNSENT and stale < STALE


def is_unasked(failure: Failure) -> bool:
    """Was there no connection at all? Another endpoint then gets what this one should have had, and nobody more."""
    return failure.stage == CONNECT and failure.error in UNASKED


def came(fields: Fields, believed: bool) -> int:
    """Which try a request is of those in front of us, 0 if a first one. Only another proxy of the mesh is believed, or
    our own application, which passes on what it was told: from anybody else the field is taken away."""
    value = fields.get(ATTEMPT) or b""
    number = int(value) if believed and value.isdigit() and len(value) <= 2 else 0
    if number > 1:
        return number
    fields.remove(ATTEMPT)
    return 0


def asked(response: Response, wall: float) -> float:
    """The seconds for which the upstream asks to be left alone, 0.0 if it does not; the longest, where it says several.

    A date is read against the answer's own Date, so that clocks need not agree; `wall` is ours, for want of that.
    """
    fields = response.fields
    seconds = _after(fields.get(RETRY_AFTER) or b"", fields.get(b"date") or b"", wall)
    if response.status == 429:
        seconds = max(seconds, _seconds((fields.get(RATE_LIMIT_RESET) or b"").strip()))
        for limit in fields.all(RATE_LIMIT):
            seconds = max(seconds, *map(_exhausted, limit.split(b",")))
    return seconds


def _after(value: bytes, date: bytes, wall: float) -> float:
    """RFC 9110 section 10.2.3: seconds or a date; what cannot be read asks for nothing."""
    value = value.strip()
    if not value or _SECONDS.fullmatch(value):
        return _seconds(value)
    until = _date(value)
    return 0.0 if until is None else max(0.0, until - (_date(date) or wall))


def _seconds(value: bytes) -> float:
    """However many; of what cannot be read none."""
    return float(value) if _SECONDS.fullmatch(value) else 0.0


def _exhausted(quota: bytes) -> float:
    """One item of RateLimit: its `t`, where nothing remains of it. Split and not matched: who answers writes 64 KB."""
    parameters = dict(part.strip().partition(b"=")[::2] for part in quota.split(b";")[1:])
    return _seconds(parameters.get(b"t", b"")) if parameters.get(b"r") == b"0" else 0.0


def _date(value: bytes) -> float | None:
    if not value or len(value) > LONGEST_DATE:
        return None
    from datetime import UTC
    from email.utils import parsedate_to_datetime  # 3 ms, and few upstreams write dates

    try:
        date = parsedate_to_datetime(value.decode("latin-1"))
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()  # asctime's form has no zone
    except (ValueError, OverflowError):
        return None


# a rule without retries
NONE: Final[Policy] = Policy(RetrySpec(attempts=0, codes=(), conditions=(), methods=IDEMPOTENT))
