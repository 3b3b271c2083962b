"""Which requests a rule takes: the Gateway API's HTTPRouteMatch, field by field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from sidewinder_operator.resources import expression
from sidewinder_operator.resources.constraints import Rule, holds, quoted
from sidewinder_operator.resources.meta import Strict
from sidewinder_operator.resources.names import HeaderName, Method

# RFC 3986 path characters, and what no path that is compared literally may hold (as in the Gateway API): empty and dot
# elements and an encoded slash, which a normalised request never has, so that the rule would never match.
_LITERAL = re.compile(r"^/([-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*\Z")
_NEVER = re.compile(r"//|/[.][.]?(/|\Z)|%2[fF]")


def _expression(value: Any) -> Iterator[str]:
    if value.type == "RegularExpression" and (why := expression.fault(value.value)):
        yield f"value: {why}"


# CEL cannot judge a regular expression but by using it: what does not compile is an error there, and so a refusal.
_REGEX = Rule(
    _expression,
    "the value must be an RE2 regular expression",
    "self.type != 'RegularExpression' || ''.matches(self.value) || !''.matches(self.value)",
    ".value",
)
_TEXT = Rule(_expression, "the value must be an RE2 regular expression")  # too dear for CEL with 4096 characters


class PathMatch(Strict, frozen=True, kw_only=True):
    """The request's path, without its query."""

    type: Annotated[
        Literal["Exact", "PathPrefix", "RegularExpression"],
        Meta(
            description="Exact compares byte for byte; PathPrefix by element, so that `/a` takes `/a/b` and not `/ab`; "
            "RegularExpression is RE2 over the whole path."
        ),
    ] = "PathPrefix"
    value: Annotated[
        str, Meta(min_length=1, max_length=1024, description="A path that begins with `/`, or an RE2 expression.")
    ] = "/"

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: self.type == "RegularExpression" or bool(_LITERAL.match(self.value)),
            "a path begins with / and holds only characters of a URL's path",
            cel=f"self.type == 'RegularExpression' || self.value.matches({quoted(_LITERAL)})",
            field="value",
        ),
        holds(
            lambda self: self.type == "RegularExpression" or not _NEVER.search(self.value),
            "a path has no empty and no dot elements and no encoded slash: no request would match",
            cel=f"self.type == 'RegularExpression' || !self.value.matches({quoted(_NEVER)})",
            field="value",
        ),
        _REGEX,
    )


class HeaderMatch(Strict, frozen=True, kw_only=True):
    """One header. Its name matches in any case; of several entries with one name only the first counts."""

    type: Annotated[
        Literal["Exact", "RegularExpression"], Meta(description="RegularExpression is RE2, whole value.")
    ] = "Exact"
    name: Annotated[HeaderName, Meta(description="The header's name.")]
    value: Annotated[str, Meta(min_length=1, max_length=4096, description="The value, or an RE2 expression.")]

    RULES: ClassVar[tuple[Rule, ...]] = (_TEXT,)


class QueryParamMatch(Strict, frozen=True, kw_only=True):
    """One query parameter. Its name matches exactly."""

    type: Annotated[
        Literal["Exact", "RegularExpression"], Meta(description="RegularExpression is RE2, whole value.")
    ] = "Exact"
    name: Annotated[HeaderName, Meta(description="The parameter's name.")]
    value: Annotated[str, Meta(min_length=1, max_length=1024, description="The value, or an RE2 expression.")]

    RULES: ClassVar[tuple[Rule, ...]] = (_TEXT,)


class Match(Strict, frozen=True, kw_only=True):
    """All of it must hold. A match that says nothing takes every request."""

    path: Annotated[PathMatch, Meta(description="The request's path.")] = PathMatch()
    method: Annotated[Method | None, Meta(description="The request's method; without it any.")] = None
    headers: Annotated[
        tuple[HeaderMatch, ...],
        Meta(max_length=16, description="Headers that the request must carry.", extra={"list": "map"}),
    ] = ()
    query_params: Annotated[
        tuple[QueryParamMatch, ...],
        Meta(max_length=16, description="Query parameters that the request must carry.", extra={"list": "map"}),
    ] = ()

    def captures(self) -> frozenset[str]:
        """The captures that templates can use: those of the path's regular expression."""
        return expression.groups(self.path.value) if self.path.type == "RegularExpression" else frozenset()
