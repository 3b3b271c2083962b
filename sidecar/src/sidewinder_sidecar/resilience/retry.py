"""May this request be sent again, and when? A rule's RetrySpec made fast, asked by the exchange after a failed try.

What is asked for in a manifest comes on top of one thing that always holds: a kept connection that the upstream closed
just as a request went out (a stale one) costs a safe request nothing but a second try.
"""

from __future__ import annotations

from random import random
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.errors import TABLE
from sidewinder_sidecar.messages import ANSWERING, UNSENT
from sidewinder_sidecar.snapshot.routes import IDEMPOTENT, RetrySpec

if TYPE_CHECKING:
    from sidewinder_sidecar.messages import Failure, Request

KEY: Final = b"idempotency-key"
STALE: Final = 2  # a second stale connection in a row happens when an upstream restarts, a third is a failure


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


# a rule without retries
NONE: Final[Policy] = Policy(RetrySpec(attempts=0, codes=(), conditions=(), methods=IDEMPOTENT))
