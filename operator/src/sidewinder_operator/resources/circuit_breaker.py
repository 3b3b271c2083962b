"""The section `circuitBreaker`: when an endpoint is left alone for a while, and how it comes back."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, holds, within
from sidewinder_operator.resources.meta import Strict
from sidewinder_operator.resources.quantity import Duration, Percent, milliseconds
from sidewinder_operator.resources.section import Merging, Section, Side

Condition = Literal["ConnectFailure", "Reset", "Timeout"]


class FailureRate(Strict, frozen=True, kw_only=True):
    """The share of failures in a window that slides."""

    percent: Annotated[int, Meta(ge=1, le=100, description="Failures per 100 requests.")] = 50
    interval: Annotated[Duration, Meta(description="Which requests count: the last 1s to 1h.")] = "10s"
    min_requests: Annotated[int, Meta(ge=1, le=1_000_000, description="Of fewer requests nothing follows.")] = 20

    RULES: ClassVar[tuple[Rule, ...]] = (within("interval", "1s", "1h"),)


class CircuitBreaker(Section, frozen=True, kw_only=True):
    """An endpoint that fails is ejected, then probed by one real request; each calling proxy judges for itself."""

    SIDE: ClassVar[Side] = "Client"
    MERGING: ClassVar[Merging] = "Replace"
    HTTP: ClassVar[bool] = False
    TARGETS: ClassVar[frozenset[str]] = frozenset({"Mesh", "Namespace", "Service", "Backend", "ApiRoute"})

    consecutive_failures: Annotated[
        int, Meta(ge=0, le=1_000_000, description="So many failures in a row eject; 0: only failureRate does.")
    ] = 5
    failure_rate: Annotated[FailureRate | None, Meta(description="So many failures of all requests eject, too.")] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Meta(max_length=3, description="Failures without a whole answer that count.", extra={"list": "set"}),
    ] = ("ConnectFailure", "Reset", "Timeout")
    codes: Annotated[
        tuple[Annotated[int, Meta(ge=400, le=599)], ...],
        Meta(max_length=16, description="Answers that count as failures.", extra={"list": "set"}),
    ] = (500, 502, 503, 504)
    open_duration: Annotated[
        Duration,
        Meta(description="How long an endpoint is ejected at first, 100ms to 1h; it doubles, less a fifth by chance."),
    ] = "5s"
    max_open_duration: Annotated[
        Duration, Meta(description="The longest time that an endpoint is ejected: to 24h.")
    ] = "5m"
    max_ejected_percent: Annotated[Percent, Meta(description="More of the endpoints are never ejected at once.")] = 50
    min_healthy_percent: Annotated[
        Percent, Meta(description="With fewer healthy ones all that are ready are used: panic.")
    ] = 30

    RULES: ClassVar[tuple[Rule, ...]] = (
        within("openDuration", "100ms", "1h"),
        within("maxOpenDuration", "100ms", "24h"),
        holds(
            lambda self: milliseconds(self.open_duration) <= milliseconds(self.max_open_duration),
            "maxOpenDuration must not be shorter than openDuration",
            cel="duration(self.openDuration) <= duration(self.maxOpenDuration)",
            field="maxOpenDuration",
        ),
        holds(
            lambda self: self.consecutive_failures > 0 or self.failure_rate is not None,
            "with consecutiveFailures 0, failureRate must say when an endpoint is ejected",
            cel="self.consecutiveFailures > 0 || has(self.failureRate)",
            field="consecutiveFailures",
        ),
        holds(
            lambda self: bool(self.codes or self.conditions),
            "without codes and conditions nothing is a failure; to eject nobody: maxEjectedPercent 0",
            cel="size(self.codes) > 0 || size(self.conditions) > 0",
            field="codes",
        ),
    )
