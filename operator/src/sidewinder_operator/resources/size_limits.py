"""The section `sizeLimits`: how large requests and answers may be."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, holds
from sidewinder_operator.resources.quantity import Size
from sidewinder_operator.resources.section import Merging, Section, Side


class SizeLimits(Section, frozen=True, kw_only=True):
    """Of all levels the smallest of each holds. On a route, the proxy that follows it refuses, else the serving one."""

    SIDE: ClassVar[Side] = "Server"
    MERGING: ClassVar[Merging] = "Minimum"
    ROUTED: ClassVar[bool] = True
    TARGETS: ClassVar[frozenset[str]] = frozenset({"Mesh", "Namespace", "Service", "ApiRoute"})

    request_headers: Annotated[
        Size | None, Meta(description="All header fields of a request together; more is answered 431.")
    ] = None
    request_body: Annotated[Size | None, Meta(description="A request's body; more is answered 413.")] = None
    response_body: Annotated[
        Size | None, Meta(description="An answer's body; more is answered 502, or cut off where it has begun.")
    ] = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: not (self.request_headers is self.request_body is self.response_body is None),
            "at least one of requestHeaders, requestBody and responseBody is needed",
            cel="has(self.requestHeaders) || has(self.requestBody) || has(self.responseBody)",
            reason="Required",
        ),
    )
