"""The section `loadBalancing`: which endpoint of a backend the next request goes to."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from sidewinder_operator.resources.section import Merging, Section, Side


class LoadBalancing(Section, frozen=True, kw_only=True):
    """The choice among a backend's endpoints."""

    SIDE: ClassVar[Side] = "Client"
    MERGING: ClassVar[Merging] = "Replace"
    HTTP: ClassVar[bool] = False
    TARGETS: ClassVar[frozenset[str]] = frozenset({"Mesh", "Namespace", "Service", "Backend", "ApiRoute"})

    type: Annotated[
        Literal["RoundRobin", "LeastRequest"],
        Meta(
            description="RoundRobin goes round, smoothly by weight. LeastRequest takes of two drawn endpoints the one "
            "with fewer requests in flight; it is what holds without a policy."
        ),
    ]
