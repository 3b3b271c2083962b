"""The section `redact`: what logs and spans do not show, beside what they never do."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, holds
from sidewinder_operator.resources.names import HeaderName
from sidewinder_operator.resources.section import Merging, Section, Side

ParameterName = Annotated[
    str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x20&=#]+\Z", extra={"right": "a name such as `token`"})
]
# RFC 6901: `/email`, `/items/0/name`; `~0` and `~1` stand for `~` and `/`.
JsonPointer = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        pattern=r"^(/([^~/\x00-\x1f]|~[01])*)+\Z",
        extra={"right": "a JSON pointer such as `/customer/email`"},
    ),
]


class Redact(Section, frozen=True, kw_only=True):
    """Adds up over all levels. Without it query strings are not shown, and tokens in them not even where they are."""

    SIDE: ClassVar[Side] = "Server"
    MERGING: ClassVar[Merging] = "Add"
    HTTP: ClassVar[bool] = False  # where nothing reads requests, nothing tells of them
    TARGETS: ClassVar[frozenset[str]] = frozenset({"Mesh", "Namespace", "Service"})

    headers: Annotated[
        tuple[HeaderName, ...],
        Meta(
            max_length=64,
            description="Headers whose values are hidden. Authorization, Cookie and their like are never told at all.",
        ),
    ] = ()
    query_params: Annotated[
        tuple[ParameterName, ...], Meta(max_length=64, description="Parameters of the query whose values are hidden.")
    ] = ()
    json_pointers: Annotated[
        tuple[JsonPointer, ...],
        Meta(max_length=64, description="Members of JSON bodies. Nothing tells of bodies yet, so nothing is to hide."),
    ] = ()

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: bool(self.headers or self.query_params or self.json_pointers),
            "at least one of headers, queryParams and jsonPointers is needed",
            cel="has(self.headers) || has(self.queryParams) || has(self.jsonPointers)",
            reason="Required",
        ),
    )
