"""Fault: requests of a rule are held or ended on purpose, to see what their callers do then."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal, TypeAlias

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, holds
from sidewinder_operator.resources.meta import Strict
from sidewinder_operator.resources.quantity import Duration, milliseconds
from sidewinder_operator.resources.share import ONE_SHARE, SHARE_REQUIRED, Fraction, SharePercent

# RFC 3339. In quotes, or YAML makes a date of it.
Time: TypeAlias = Annotated[
    str,
    Meta(
        max_length=35,
        pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
        r"(\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])\Z",
        extra={"right": 'a time in quotes such as `"2030-01-31T18:00:00Z"`'},
    ),
]
Status: TypeAlias = Annotated[int, Meta(ge=200, le=599, extra={"right": "a status from 200 to 599"})]
_LONGEST = "30s"  # as long as the sidecar waits


class FaultDelay(Strict, frozen=True, kw_only=True):
    """Requests wait before they go on."""

    duration: Annotated[Duration, Meta(description="How long.")]
    percent: Annotated[SharePercent | None, Meta(description="Of how many requests in a hundred.")] = None
    fraction: Annotated[Fraction | None, Meta(description="Of how many requests of how many.")] = None

    # Without CEL, like ONE_SHARE: rules of a filter's payload are beyond its budget.
    RULES: ClassVar[tuple[Rule, ...]] = (
        ONE_SHARE,
        SHARE_REQUIRED,
        holds(
            lambda self: 1 <= milliseconds(self.duration) <= milliseconds(_LONGEST),
            f"duration must be between 1ms and {_LONGEST}",
            field="duration",
            reason="OutOfRange",
        ),
    )


class FaultAbort(Strict, frozen=True, kw_only=True):
    """Requests end without a backend: with an answer, or with a connection that is reset."""

    status_code: Annotated[Status | None, Meta(description="The answer's status.")] = None
    reset: Annotated[bool, Meta(description="Resets the caller's connection instead of answering.")] = False
    percent: Annotated[SharePercent | None, Meta(description="Of how many requests in a hundred.")] = None
    fraction: Annotated[Fraction | None, Meta(description="Of how many requests of how many.")] = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        ONE_SHARE,
        SHARE_REQUIRED,
        holds(
            lambda self: (self.status_code is None) == self.reset,
            "one of statusCode and `reset: true` is required, and not both",
            field="statusCode",
        ),
    )


class Fault(Strict, frozen=True, kw_only=True):
    """Holds or ends requests on purpose."""

    delay: Annotated[FaultDelay | None, Meta(description="Requests wait before they go on.")] = None
    abort: Annotated[FaultAbort | None, Meta(description="Requests end without a backend, after their delay.")] = None
    headers: Annotated[
        Literal["Ignore", "Allow"],
        Meta(
            description="Whether a request may ask for a fault of its own, by `x-sidewinder-fault-delay: 300ms` and"
            " `x-sidewinder-fault-abort: 503` or `reset`. Anybody who can send a request can then hold it."
        ),
    ] = "Ignore"
    expires: Annotated[Time | None, Meta(description="When it ends by itself.")] = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: self.delay is not None or self.abort is not None or self.headers == "Allow",
            "a fault is a delay, an abort or `headers: Allow`",
            field="delay",
            reason="Required",
        ),
        holds(
            lambda self: self.expires is None or moment(self.expires) is not None,
            "expires must be a day that exists",
            field="expires",
        ),
    )


def moment(written: str) -> float | None:
    """Seconds since 1970 of a valid Time; None for a day that does not exist."""
    head, dot, tail = written.partition(".")
    if dot:  # fractions of a second decide nothing, and Python reads six digits of them at most
        tail = tail.lstrip("0123456789")
    try:
        return datetime.fromisoformat((head + tail).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
