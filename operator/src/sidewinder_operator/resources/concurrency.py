"""The section `concurrency`: how much of a backend one calling proxy may use at a time."""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeAlias

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, holds
from sidewinder_operator.resources.meta import Strict
from sidewinder_operator.resources.section import Merging, Section, Side

Most: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000)]  # more than any process has of one of them

_NAMES = ("maxRequests", "maxPending", "maxConnections")
_ANY = " || ".join(f"has(self.{name})" for name in _NAMES)


class EndpointConcurrency(Strict, frozen=True, kw_only=True):
    """The same of each endpoint."""

    max_requests: Annotated[Most | None, Meta(description="Requests that run.")] = None
    max_pending: Annotated[Most | None, Meta(description="Connections being made.")] = None
    max_connections: Annotated[Most | None, Meta(description="Connections.")] = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: (self.max_requests, self.max_pending, self.max_connections) != (None, None, None),
            f"at least one of {', '.join(_NAMES)} is needed",
            cel=_ANY,
            reason="Required",
        ),
    )


class Concurrency(Section, frozen=True, kw_only=True):
    """Limits of each calling proxy. What is over them is refused at once, with 503 and the reason."""

    SIDE: ClassVar[Side] = "Client"
    MERGING: ClassVar[Merging] = "Replace"
    HTTP: ClassVar[bool] = False
    TARGETS: ClassVar[frozenset[str]] = frozenset({"Mesh", "Namespace", "Service", "Backend", "ApiRoute"})

    max_requests: Annotated[Most | None, Meta(description="Requests that run, and relayed connections.")] = None
    max_pending: Annotated[Most | None, Meta(description="Requests that wait for a connection being made.")] = None
    max_connections: Annotated[Most | None, Meta(description="Connections, those that rest among them.")] = None
    per_endpoint: Annotated[EndpointConcurrency | None, Meta(description="The same of each endpoint.")] = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: (self.max_requests, self.max_pending, self.max_connections, self.per_endpoint) != (None,) * 4,
            f"at least one of {', '.join(_NAMES)}, perEndpoint is needed",
            cel=f"{_ANY} || has(self.perEndpoint)",
            reason="Required",
        ),
    )
