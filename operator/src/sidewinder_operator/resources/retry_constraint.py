"""The section `retryConstraint`: how many retries a backend may be sent. Source: Gateway API GEP-3388."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, within
from sidewinder_operator.resources.meta import Strict
from sidewinder_operator.resources.quantity import Duration, Percent
from sidewinder_operator.resources.section import Merging, Section, Side


class RetryBudget(Strict, frozen=True, kw_only=True):
    """Retries in proportion to requests."""

    percent: Annotated[Percent, Meta(description="Retries per 100 requests of the interval.")] = 20
    interval: Annotated[Duration, Meta(description="Which requests count: 1s to 1h.")] = "10s"

    RULES: ClassVar[tuple[Rule, ...]] = (within("interval", "1s", "1h"),)


class RetryRate(Strict, frozen=True, kw_only=True):
    """Retries that are always free."""

    count: Annotated[int, Meta(ge=1, le=1_000_000, description="How many retries.")] = 10
    interval: Annotated[Duration, Meta(description="In how long: 1s to 1h.")] = "1s"

    RULES: ClassVar[tuple[Rule, ...]] = (within("interval", "1s", "1h"),)


class RetryConstraint(Section, frozen=True, kw_only=True):
    """A retry budget: what keeps a failing backend from being called more just because it fails."""

    SIDE: ClassVar[Side] = "Client"
    MERGING: ClassVar[Merging] = "Replace"
    TARGETS: ClassVar[frozenset[str]] = frozenset({"Mesh", "Namespace", "Service", "Backend", "ApiRoute"})

    budget: Annotated[RetryBudget, Meta(description="Retries in proportion to requests.")] = RetryBudget()
    min_retry_rate: Annotated[RetryRate, Meta(description="Retries that are free however few requests come.")] = (
        RetryRate()
    )
