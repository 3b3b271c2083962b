"""ApiRoute: which requests to a Service go where. A rule is an HTTPRoute rule field by field and means the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from sidewinder_operator.resources import expression
from sidewinder_operator.resources.constraints import Rule, distinct, holds, union
from sidewinder_operator.resources.filters import ANSWERS, Filter, ordered
from sidewinder_operator.resources.match import Match
from sidewinder_operator.resources.meta import Named, ObjectMeta, Strict
from sidewinder_operator.resources.names import (
    CookieName,
    HeaderName,
    Hostname,
    Method,
    Namespace,
    Port,
    PortName,
    SectionName,
    ServiceName,
    is_address,
)
from sidewinder_operator.resources.quantity import Duration, milliseconds

# RFC 9110 section 9.2.2: what may be sent twice without asking anybody. TRACE is left out: nobody routes it.
IDEMPOTENT: tuple[Method, ...] = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
Condition = Literal["ConnectFailure", "ResetBeforeRequest", "Reset", "Timeout"]

MOST_MATCHES = 128  # per route, as in the Gateway API


class ParentRef(Strict, frozen=True, kw_only=True):
    """What the route captures. The kind implies the group."""

    group: Annotated[Literal["", "core"] | None, Meta(description="Follows from kind and need not be written.")] = None
    kind: Annotated[Literal["Service"], Meta(description="Service: calls inside the mesh.")]
    namespace: Annotated[Namespace | None, Meta(description="Without it the route's own.")] = None
    name: Annotated[ServiceName, Meta(description="The Service's name.")]
    section_name: Annotated[PortName | None, Meta(description="The name of one of its ports; without it all.")] = None
    port: Annotated[Port | None, Meta(description="The number of one of its ports; without it all.")] = None


class BackendRef(Strict, frozen=True, kw_only=True):
    """A share of a rule's requests."""

    group: Annotated[Literal["", "core"] | None, Meta(description="Follows from kind and need not be written.")] = None
    kind: Annotated[Literal["Service"], Meta(description="What the name names.")] = "Service"
    namespace: Annotated[Namespace | None, Meta(description="Without it the route's own.")] = None
    name: Annotated[ServiceName, Meta(description="The Service's name.")]
    port: Annotated[Port, Meta(description="The Service's port.")]
    weight: Annotated[
        int, Meta(ge=0, le=1_000_000, description="The share, of the sum of all weights of the rule; 0 is none.")
    ] = 1
    filters: Annotated[
        tuple[Filter, ...], Meta(max_length=16, description="For requests that go here, after the rule's own.")
    ] = ()

    RULES: ClassVar[tuple[Rule, ...]] = ordered("filters")


class CookieStickiness(Strict, frozen=True, kw_only=True):
    """The proxy sets the cookie."""

    name: Annotated[CookieName, Meta(description="The cookie's name.")]
    lifetime: Annotated[Duration | None, Meta(description="How long it holds; without it until the browser ends.")] = (
        None
    )


class HeaderStickiness(Strict, frozen=True, kw_only=True):
    """Consistent hash of a header's value: when weights move, only the changed share of users moves."""

    name: Annotated[HeaderName, Meta(description="The header's name.")]


class Stickiness(Strict, frozen=True, kw_only=True):
    """Keeps a user on the backend it met."""

    type: Annotated[Literal["Cookie", "Header"], Meta(description="By what a user is known.")]
    cookie: Annotated[CookieStickiness | None, Meta(description="By a cookie that the proxy sets.")] = None
    header: Annotated[HeaderStickiness | None, Meta(description="By a header that the request carries.")] = None

    RULES: ClassVar[tuple[Rule, ...]] = union({"Cookie": "cookie", "Header": "header"})


class Timeouts(Strict, frozen=True, kw_only=True):
    """How long a request may take; `0s` is no limit of its own."""

    request: Annotated[Duration | None, Meta(description="From the request's arrival to the answer, all tries.")] = None
    backend_request: Annotated[Duration | None, Meta(description="One try.")] = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: (
                self.request is None
                or self.backend_request is None
                or milliseconds(self.request) == 0
                or milliseconds(self.backend_request) <= milliseconds(self.request)
            ),
            "one try (backendRequest) must not be allowed longer than the whole request",
            cel="!has(self.request) || !has(self.backendRequest) || duration(self.request) == duration('0s')"
            " || duration(self.backendRequest) <= duration(self.request)",
            field="backendRequest",
        ),
    )


class Retry(Strict, frozen=True, kw_only=True):
    """When a try that failed is made again, on another endpoint. The budget belongs to the backend: retryConstraint."""

    # More than 10 is a storm of one caller's making.
    attempts: Annotated[int, Meta(ge=1, le=10, description="How often again: retries, not tries.")] = 1
    codes: Annotated[
        tuple[Annotated[int, Meta(ge=400, le=599)], ...],
        Meta(max_length=16, description="Answers that count as failed.", extra={"list": "set"}),
    ] = ()
    conditions: Annotated[
        tuple[Condition, ...],
        Meta(max_length=4, description="Failures without an answer that count.", extra={"list": "set"}),
    ] = ("ConnectFailure", "ResetBeforeRequest")
    methods: Annotated[
        tuple[Method, ...],
        Meta(
            max_length=9,
            description="What may be sent again; anything else with an Idempotency-Key, or if never sent.",
            extra={"list": "set"},
        ),
    ] = IDEMPOTENT
    backoff: Annotated[Duration, Meta(description="The first pause; it doubles, with full jitter.")] = "25ms"
    max_backoff: Annotated[Duration, Meta(description="The longest pause.")] = "250ms"

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: milliseconds(self.backoff) <= milliseconds(self.max_backoff),
            "maxBackoff must not be shorter than backoff",
            cel="duration(self.backoff) <= duration(self.maxBackoff)",
            field="maxBackoff",
        ),
    )


def _answered(rule: Any) -> Iterator[str]:
    for index, found in enumerate(rule.filters):
        if rule.backend_refs and found.type in ANSWERS:
            yield f"filters[{index}].type: {found.type} with backendRefs"


_ANSWERED = (
    "!has(self.backendRefs) || size(self.backendRefs) == 0 || !has(self.filters)"
    f" || !self.filters.exists(f, f.type in {list(ANSWERS)})"
)


def _everywhere(rule: Any) -> Iterator[tuple[str, Filter]]:
    """All filters of a rule, with their paths: its own and its backends'."""
    for index, found in enumerate(rule.filters):
        yield f"filters[{index}]", found
    for number, backend in enumerate(rule.backend_refs):
        for index, found in enumerate(backend.filters):
            yield f"backendRefs[{number}].filters[{index}]", found


def _prefixed(rule: Any) -> Iterator[str]:
    if len(rule.matches) == 1 and rule.matches[0].path.type == "PathPrefix":
        return
    for path, found in _everywhere(rule):
        for field, modifier in found.paths():
            if modifier.type == "ReplacePrefixMatch":
                yield f"{path}.{field}.type"


def _replacing(owner: str) -> str:
    kinds = " || ".join(
        f"has(f.{kind}) && has(f.{kind}.path) && f.{kind}.path.type == 'ReplacePrefixMatch'"
        for kind in ("requestRedirect", "urlRewrite")
    )
    return f"has({owner}.filters) && {owner}.filters.exists(f, {kinds})"


_PREFIXED = (
    "size(self.matches) == 1 && self.matches[0].path.type == 'PathPrefix'"
    f" || !({_replacing('self')} || has(self.backendRefs) && self.backendRefs.exists(b, {_replacing('b')}))"
)


def _templates(rule: Any) -> Iterator[str]:
    defined: frozenset[str] | None = None
    for path, found in _everywhere(rule):
        for field, template in found.templates():
            if defined is None:
                defined = frozenset.intersection(*(match.captures() for match in rule.matches))
            for name in expression.captures(template):
                if name not in defined:
                    yield f"{path}.{field}: {{{name}}} is not defined by all"


class RouteRule(Strict, frozen=True, kw_only=True):
    """Which requests, what happens to them, and where they go."""

    name: Annotated[SectionName, Meta(description="What policies, rollouts, metrics and `explain` know the rule by.")]
    matches: Annotated[
        tuple[Match, ...], Meta(min_length=1, max_length=64, description="Any of them; without any, every request.")
    ] = (Match(),)
    filters: Annotated[tuple[Filter, ...], Meta(max_length=16, description="Run in the order written.")] = ()
    backend_refs: Annotated[
        tuple[BackendRef, ...], Meta(max_length=16, description="Where requests go, by weight.")
    ] = ()
    stickiness: Annotated[Stickiness | None, Meta(description="Keeps a user on the backend it met.")] = None
    timeouts: Annotated[Timeouts | None, Meta(description="How long a request may take.")] = None
    retry: Annotated[Retry | None, Meta(description="When a failed try is made again.")] = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(_answered, "a rule that answers itself (RequestRedirect, DirectResponse) has no backendRefs", _ANSWERED),
        Rule(_prefixed, "ReplacePrefixMatch needs exactly one match in the rule, and that a PathPrefix", _PREFIXED),
        Rule(_templates, "every match of the rule must have a RegularExpression that defines the capture"),
        *ordered("filters"),
    )


def _numeric(spec: Any) -> Iterator[str]:
    for index, hostname in enumerate(spec.hostnames):
        if is_address(hostname):
            yield f"hostnames[{index}]"


class ApiRouteSpec(Strict, frozen=True, kw_only=True):
    """What the user wants."""

    parent_refs: Annotated[
        tuple[ParentRef, ...], Meta(min_length=1, max_length=32, description="What the route captures.")
    ]
    hostnames: Annotated[
        tuple[Hostname, ...],
        Meta(max_length=16, description="Only requests for one of these hosts.", extra={"list": "set"}),
    ] = ()
    rules: Annotated[
        tuple[RouteRule, ...],
        Meta(min_length=1, max_length=16, description="Tried by the Gateway API's precedence.", extra={"list": "map"}),
    ]

    RULES: ClassVar[tuple[Rule, ...]] = (
        distinct("parentRefs", "kind", "namespace", "name", "sectionName", "port"),
        holds(
            lambda self: sum(len(rule.matches) for rule in self.rules) <= MOST_MATCHES,
            f"a route may have {MOST_MATCHES} matches in all its rules",
            cel=f"self.rules.map(r, size(r.matches)).sum() <= {MOST_MATCHES}",
            field="rules",
            reason="TooMany",
        ),
        Rule(
            _numeric,
            "hostnames are names, not addresses",
            "!has(self.hostnames) || self.hostnames.all(h, !isIP(h))",
            ".hostnames",
        ),
    )


class ApiRoute(Strict, Named, frozen=True, kw_only=True):
    """Routes requests that are sent to a Service: by path, header and weight, with filters, timeouts and retries."""

    KIND: ClassVar[str] = "ApiRoute"

    metadata: ObjectMeta
    spec: ApiRouteSpec
