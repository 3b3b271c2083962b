"""CORS, the section and the filter of a rule: who may read answers from a page of another origin.

Source: the Gateway API's HTTPCORSFilter. The filter of a rule acts where the rule does, in the caller's proxy.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, holds, snake
from sidewinder_operator.resources.meta import Strict
from sidewinder_operator.resources.names import HeaderName
from sidewinder_operator.resources.section import Merging, Section, Side

_LABEL = "[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?"
# RFC 6454: scheme, host and port; a browser writes them in lower case. A `*` stands for one label or more, leftmost.
Origin: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=253,
        pattern=rf"^(\*|[a-z][a-z0-9+.-]*://(\*\.)?({_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\])(:[0-9]{{1,5}})?)\Z",
        extra={"right": "an origin such as `https://shop.example`, `https://*.shop.example` or `*`"},
    ),
]
AllowedMethod: TypeAlias = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"]

AllowOrigins: TypeAlias = Annotated[
    tuple[Origin, ...],
    Meta(
        min_length=1,
        max_length=64,
        description="Whose pages may read: scheme, host and port; `*` is everybody.",
        extra={"list": "set"},
    ),
]
AllowMethods: TypeAlias = Annotated[
    tuple[AllowedMethod, ...],
    Meta(
        max_length=9,
        description="Beside GET, HEAD and POST, which need not be named. `*` is all.",
        extra={"list": "set"},
    ),
]
AllowHeaders: TypeAlias = Annotated[
    tuple[HeaderName, ...],
    Meta(max_length=64, description="Which headers a page may set on its requests. `*` is all.", extra={"list": "set"}),
]
ExposeHeaders: TypeAlias = Annotated[
    tuple[HeaderName, ...],
    Meta(
        max_length=64,
        description="Which headers of an answer a page may read. `*` is all, without credentials.",
        extra={"list": "set"},
    ),
]
AllowCredentials: TypeAlias = Annotated[
    bool, Meta(description="Whether a page may send its visitor's cookies and other credentials along.")
]
MaxAge: TypeAlias = Annotated[
    int, Meta(ge=0, le=86400, description="How many seconds a browser may remember the answer to a preflight.")
]


def _alone(field: str) -> Rule:
    """`*` says all."""
    attribute = snake(field)
    return holds(
        lambda self: "*" not in getattr(self, attribute) or len(getattr(self, attribute)) == 1,
        f"`*` is all: nothing else stands beside it in {field}",
        cel=f"!has(self.{field}) || !('*' in self.{field}) || size(self.{field}) == 1",
        field=field,
    )


_RULES: tuple[Rule, ...] = (
    holds(
        lambda self: not self.allow_credentials or "*" not in self.allow_origins,
        "with allowCredentials every origin must be named: `*` would let any page read as its visitor",
        cel="!has(self.allowCredentials) || !self.allowCredentials || !('*' in self.allowOrigins)",
        field="allowOrigins",
    ),
    holds(
        lambda self: not self.allow_credentials or "*" not in self.expose_headers,
        "with allowCredentials every header must be named: browsers take `*` for a header's name then",
        cel="!has(self.allowCredentials) || !self.allowCredentials || !has(self.exposeHeaders)"
        " || !('*' in self.exposeHeaders)",
        field="exposeHeaders",
    ),
    *(_alone(field) for field in ("allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders")),
)


class Cors(Section, frozen=True, kw_only=True):
    """The serving proxy answers preflights and marks answers; what the application says of CORS is replaced."""

    SIDE: ClassVar[Side] = "Server"
    MERGING: ClassVar[Merging] = "Replace"
    TARGETS: ClassVar[frozenset[str]] = frozenset({"Mesh", "Namespace", "Service"})

    allow_origins: AllowOrigins
    allow_methods: AllowMethods = ()
    allow_headers: AllowHeaders = ()
    expose_headers: ExposeHeaders = ()
    allow_credentials: AllowCredentials = False
    max_age: MaxAge = 5

    RULES: ClassVar[tuple[Rule, ...]] = _RULES


class CorsFilter(Strict, frozen=True, kw_only=True):
    """Answers preflights and marks answers, whatever the section `cors` of the called says."""

    allow_origins: AllowOrigins
    allow_methods: AllowMethods = ()
    allow_headers: AllowHeaders = ()
    expose_headers: ExposeHeaders = ()
    allow_credentials: AllowCredentials = False
    max_age: MaxAge = 5

    # Without CEL: sixteen filters of sixteen backends of sixteen rules are beyond its budget.
    RULES: ClassVar[tuple[Rule, ...]] = tuple(rule._replace(cel="") for rule in _RULES)
