"""The section `adaptiveConcurrency`: how many requests an application gets at once, found out from its latency."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, holds, within
from sidewinder_operator.resources.names import HeaderName
from sidewinder_operator.resources.quantity import Duration
from sidewinder_operator.resources.section import Merging, Section, Side

Concurrency = Annotated[int, Meta(ge=1, le=100_000)]


class AdaptiveConcurrency(Section, frozen=True, kw_only=True):
    """The serving proxy refuses at once, with 503, what would only make the application slower. Each proxy finds its
    own limit."""

    SIDE: ClassVar[Side] = "Server"
    MERGING: ClassVar[Merging] = "Replace"
    TARGETS: ClassVar[frozenset[str]] = frozenset({"Mesh", "Namespace", "Service"})

    target_latency: Annotated[
        Duration,
        Meta(
            description="1ms to 1m. As long as the application answers within it, more and more is let in at once; "
            "above it less. What it takes longer for even when it is asked little does not count."
        ),
    ]
    priority_header: Annotated[
        HeaderName | None,
        Meta(
            description="The header that says what may wait: `low` is refused first, from 60 % of the limit, `high` "
            "last; anything else from 90 %."
        ),
    ] = None
    min_concurrency: Annotated[Concurrency, Meta(description="What is never refused. Envoy's default.")] = 3
    max_concurrency: Annotated[Concurrency, Meta(description="What is never let in. Envoy's default.")] = 1000

    RULES: ClassVar[tuple[Rule, ...]] = (
        within("targetLatency", "1ms", "1m"),
        holds(
            lambda self: self.min_concurrency <= self.max_concurrency,
            "minConcurrency must not be above maxConcurrency",
            cel="self.minConcurrency <= self.maxConcurrency",
            field="minConcurrency",
            reason="OutOfRange",
        ),
    )
