"""What a rule does to a request and its response: the Gateway API's HTTPRouteFilter, and what is ours beside it.

A filter is a `type` and the payload of that name. Filters run in the order written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, holds, union
from sidewinder_operator.resources.cors import CorsFilter
from sidewinder_operator.resources.fault import Fault
from sidewinder_operator.resources.meta import Strict
from sidewinder_operator.resources.mirror import RequestMirror
from sidewinder_operator.resources.names import (
    FullPath,
    HeaderName,
    HeaderTemplate,
    HeaderValue,
    PathTemplate,
    Port,
    PreciseHostname,
    PrefixPath,
)


class HeaderField(Strict, frozen=True, kw_only=True):
    """A header to write: its name and one of `value` and `valueTemplate`."""

    name: Annotated[HeaderName, Meta(description="The header's name.")]
    value: Annotated[HeaderValue | None, Meta(description="The value as it stands.")] = None
    value_template: Annotated[
        HeaderTemplate | None,
        Meta(description="A value in which `{name}` is replaced by that capture of the path's regular expression."),
    ] = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: (self.value is None) != (self.value_template is None),
            "one of value and valueTemplate is required, and not both",
            cel="has(self.value) != has(self.valueTemplate)",
            field="value",
        ),
    )


# Headers that frame a message or belong to one connection (RFC 9110 section 7.6.1, RFC 9112 section 6): a manifest that
# could write them could make what leaves the proxy parse in two ways. Host is what urlRewrite.hostname is for.
FRAMING = frozenset({
    "connection", "content-length", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
    "upgrade",
})  # fmt: skip
_FRAMING = "headers of framing, of the connection, and Host are the proxy's own (urlRewrite.hostname changes Host)"


def _framing(owner: Any) -> Iterator[str]:
    for name in ("set", "add", "headers"):
        for index, header in enumerate(getattr(owner, name, ())):
            if header.name.lower() in FRAMING:
                yield f"{name}[{index}].name: {header.name}"
    for index, header in enumerate(getattr(owner, "remove", ())):
        if header.lower() in FRAMING:
            yield f"remove[{index}]: {header}"


class HeaderModifier(Strict, frozen=True, kw_only=True):
    """Changes headers."""

    set: Annotated[
        tuple[HeaderField, ...],
        Meta(max_length=16, description="Replaces all of that name.", extra={"list": "map"}),
    ] = ()
    add: Annotated[
        tuple[HeaderField, ...],
        Meta(max_length=16, description="Stands beside what is there.", extra={"list": "map"}),
    ] = ()
    remove: Annotated[
        tuple[HeaderName, ...], Meta(max_length=16, description="Takes all of that name away.", extra={"list": "set"})
    ] = ()

    # Without CEL: sixteen filters of sixteen backends of sixteen rules are beyond its budget.
    RULES: ClassVar[tuple[Rule, ...]] = (Rule(_framing, _FRAMING),)


class PathModifier(Strict, frozen=True, kw_only=True):
    """What becomes of the path; the query stays."""

    type: Annotated[
        Literal["ReplaceFullPath", "ReplacePrefixMatch", "ReplaceTemplate"], Meta(description="Which of the three.")
    ]
    replace_full_path: Annotated[FullPath | None, Meta(description="The new path.")] = None
    replace_prefix_match: Annotated[
        PrefixPath | None, Meta(description="Replaces the prefix that the rule's one PathPrefix matched.")
    ] = None
    replace_template: Annotated[
        PathTemplate | None,
        Meta(description="A path in which `{name}` is replaced by that capture of the path's regular expression."),
    ] = None

    RULES: ClassVar[tuple[Rule, ...]] = union(
        {
            "ReplaceFullPath": "replaceFullPath",
            "ReplacePrefixMatch": "replacePrefixMatch",
            "ReplaceTemplate": "replaceTemplate",
        }
    )


class RequestRedirect(Strict, frozen=True, kw_only=True):
    """Answers with another address. What is not set is taken from the request."""

    scheme: Annotated[Literal["http", "https"] | None, Meta(description="The address's scheme.")] = None
    hostname: Annotated[PreciseHostname | None, Meta(description="The address's host.")] = None
    path: Annotated[PathModifier | None, Meta(description="The address's path.")] = None
    port: Annotated[
        Port | None, Meta(description="The address's port. Without it, the scheme's own when a scheme is set.")
    ] = None
    status_code: Annotated[Literal[301, 302, 303, 307, 308], Meta(description="The answer's status.")] = 302


class URLRewrite(Strict, frozen=True, kw_only=True):
    """Changes what the backend sees as host and path."""

    hostname: Annotated[PreciseHostname | None, Meta(description="Replaces the Host header.")] = None
    path: Annotated[PathModifier | None, Meta(description="Replaces the path.")] = None


_BODILESS = (204, 205, 304)  # RFC 9110 section 6.4.1


class DirectResponse(Strict, frozen=True, kw_only=True):
    """Answers without a backend."""

    status_code: Annotated[int, Meta(ge=200, le=599, description="The answer's status.")] = 200
    body: Annotated[str, Meta(max_length=4096, description="The answer's body.")] = ""
    headers: Annotated[
        tuple[HeaderField, ...], Meta(max_length=16, description="The answer's headers.", extra={"list": "map"})
    ] = ()

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(_framing, _FRAMING),
        holds(
            lambda self: not self.body or self.status_code not in _BODILESS,
            "an answer of 204, 205 or 304 has no body",
            cel=f"!has(self.body) || self.body == '' || !(self.statusCode in {list(_BODILESS)})",
            field="body",
        ),
    )


# type → field of the payload
FILTERS = {
    "RequestHeaderModifier": "requestHeaderModifier",
    "ResponseHeaderModifier": "responseHeaderModifier",
    "RequestRedirect": "requestRedirect",
    "URLRewrite": "urlRewrite",
    "DirectResponse": "directResponse",
    "CORS": "cors",
    "RequestMirror": "requestMirror",
    "Fault": "fault",
}
_DECIDES = ("RequestRedirect", "URLRewrite", "DirectResponse")
ANSWERS = ("RequestRedirect", "DirectResponse")  # no backend is asked


class Filter(Strict, frozen=True, kw_only=True):
    """A type and its payload."""

    type: Annotated[
        Literal[
            "RequestHeaderModifier",
            "ResponseHeaderModifier",
            "RequestRedirect",
            "URLRewrite",
            "DirectResponse",
            "CORS",
            "RequestMirror",
            "Fault",
        ],
        Meta(description="Which filter; its payload stands in the field of that name."),
    ]
    request_header_modifier: Annotated[HeaderModifier | None, Meta(description="Changes the request's headers.")] = None
    response_header_modifier: Annotated[HeaderModifier | None, Meta(description="Changes the response's headers.")] = (
        None
    )
    request_redirect: Annotated[RequestRedirect | None, Meta(description="Answers with another address.")] = None
    url_rewrite: Annotated[URLRewrite | None, Meta(description="Changes host and path towards the backend.")] = None
    direct_response: Annotated[DirectResponse | None, Meta(description="Answers without a backend.")] = None
    cors: Annotated[CorsFilter | None, Meta(description="Who may read answers from a page of another origin.")] = None
    request_mirror: Annotated[
        RequestMirror | None, Meta(description="Sends copies of requests to another backend.")
    ] = None
    fault: Annotated[Fault | None, Meta(description="Holds or ends requests on purpose.")] = None

    RULES: ClassVar[tuple[Rule, ...]] = union(FILTERS)

    def paths(self) -> Iterator[tuple[str, PathModifier]]:
        """Every change of a path, with the field that holds it."""
        if self.request_redirect is not None and self.request_redirect.path is not None:
            yield "requestRedirect.path", self.request_redirect.path
        if self.url_rewrite is not None and self.url_rewrite.path is not None:
            yield "urlRewrite.path", self.url_rewrite.path

    def fields(self) -> Iterator[tuple[str, HeaderField]]:
        """Every header that is written, with the field that holds it."""
        for name, modifier in (
            ("requestHeaderModifier", self.request_header_modifier),
            ("responseHeaderModifier", self.response_header_modifier),
        ):
            if modifier is not None:
                yield from ((f"{name}.set[{index}]", field) for index, field in enumerate(modifier.set))
                yield from ((f"{name}.add[{index}]", field) for index, field in enumerate(modifier.add))
        if self.direct_response is not None:
            yield from ((f"directResponse.headers[{i}]", field) for i, field in enumerate(self.direct_response.headers))

    def templates(self) -> Iterator[tuple[str, str]]:
        """Every template, with the field that holds it."""
        for path, modifier in self.paths():
            if modifier.replace_template is not None:
                yield f"{path}.replaceTemplate", modifier.replace_template
        for path, field in self.fields():
            if field.value_template is not None:
                yield f"{path}.valueTemplate", field.value_template


def ordered(field: str) -> tuple[Rule, ...]:
    """The rules of a list of filters: each type once, and one at most that decides where the request goes."""

    def repeated(owner: Any) -> Iterator[str]:
        seen: set[str] = set()
        for index, found in enumerate(getattr(owner, field)):
            if found.type in seen:
                yield f"{field}[{index}].type"
            seen.add(found.type)

    def competing(owner: Any) -> Iterator[str]:
        yield from [f"{field}[{i}].type" for i, found in enumerate(getattr(owner, field)) if found.type in _DECIDES][1:]

    return (
        Rule(
            repeated,
            "a type of filter may stand once in a list",
            f"!has(self.{field}) || self.{field}.all(f, self.{field}.exists_one(g, g.type == f.type))",
            f".{field}",
            "Duplicate",
        ),
        Rule(
            competing,
            "of RequestRedirect, URLRewrite and DirectResponse one at most may stand in a list",
            f"!has(self.{field}) || self.{field}.filter(f, f.type in {list(_DECIDES)}).size() <= 1",
            f".{field}",
        ),
    )
