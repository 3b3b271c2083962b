"""The section `healthCheck`: endpoints are asked whether they are well, and those that are not get nothing new."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, holds, union, within
from sidewinder_operator.resources.meta import Strict
from sidewinder_operator.resources.quantity import Duration, milliseconds
from sidewinder_operator.resources.section import Merging, Section, Side

# A path and a query as they stand in a request: visible ASCII, without a fragment.
Target: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1024,
        pattern=r'^/[!-"$-~]*\Z',
        extra={"right": "a path such as `/healthz`, percent-encoded"},
    ),
]


class HttpCheck(Strict, frozen=True, kw_only=True):
    """GET, with `User-Agent: sidewinder-health`."""

    path: Annotated[Target, Meta(description="What is asked for.")]
    expected_statuses: Annotated[
        tuple[Annotated[int, Meta(ge=200, le=599)], ...],
        Meta(min_length=1, max_length=16, description="The answers of who is well.", extra={"list": "set"}),
    ] = (200,)


class HealthCheck(Section, frozen=True, kw_only=True):
    """Three proxies near an endpoint ask it for the whole mesh; what most of them say holds for every caller."""

    SIDE: ClassVar[Side] = "Client"
    MERGING: ClassVar[Merging] = "Replace"
    HTTP: ClassVar[bool] = False
    TARGETS: ClassVar[frozenset[str]] = frozenset({"Service", "Backend"})

    type: Annotated[
        Literal["HTTP", "TCP"],
        Meta(description="HTTP asks for a path. TCP makes a connection, and so does HTTP where appProtocol says TCP."),
    ]
    http: Annotated[HttpCheck | None, Meta(description="What is asked, of type HTTP.")] = None
    interval: Annotated[Duration, Meta(description="From one check to the next, 1s to 1h, ± 10 % by chance.")] = "5s"
    timeout: Annotated[
        Duration, Meta(description="How long an answer may take, from 50ms; no longer than interval.")
    ] = "1s"
    healthy_threshold: Annotated[
        int, Meta(ge=1, le=10, description="So many answers in a row make an endpoint healthy.")
    ] = 2
    unhealthy_threshold: Annotated[
        int, Meta(ge=1, le=10, description="So many failures in a row make it unhealthy.")
    ] = 3

    RULES: ClassVar[tuple[Rule, ...]] = (
        *union({"HTTP": "http"}),
        within("interval", "1s", "1h"),
        within("timeout", "50ms", "1h"),
        holds(
            lambda self: milliseconds(self.timeout) <= milliseconds(self.interval),
            "timeout must not be longer than interval",
            cel="duration(self.timeout) <= duration(self.interval)",
            field="timeout",
        ),
    )
