"""RequestMirror: a copy of a share of a rule's requests goes to another Service.

Source: the Gateway API's HTTPRequestMirrorFilter; `compare` is ours.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule
from sidewinder_operator.resources.meta import Strict
from sidewinder_operator.resources.names import Namespace, Port, ServiceName
from sidewinder_operator.resources.share import ONE_SHARE, Fraction, SharePercent


class MirrorRef(Strict, frozen=True, kw_only=True):
    """Who gets the copies."""

    group: Annotated[Literal["", "core"] | None, Meta(description="Follows from kind and need not be written.")] = None
    kind: Annotated[Literal["Service"], Meta(description="What the name names.")] = "Service"
    namespace: Annotated[Namespace | None, Meta(description="Without it the route's own.")] = None
    name: Annotated[ServiceName, Meta(description="The Service's name.")]
    port: Annotated[Port, Meta(description="The Service's port.")]


class RequestMirror(Strict, frozen=True, kw_only=True):
    """Sends copies of requests to another backend, whose answers nobody gets. Without a share, of every request."""

    backend_ref: Annotated[MirrorRef, Meta(description="Who gets the copies.")]
    percent: Annotated[SharePercent | None, Meta(description="Of how many requests in a hundred.")] = None
    fraction: Annotated[Fraction | None, Meta(description="Of how many requests of how many.")] = None
    compare: Annotated[
        bool, Meta(description="Reads the answers to copies and tells where they differ from the callers'.")
    ] = False

    RULES: ClassVar[tuple[Rule, ...]] = (ONE_SHARE,)
