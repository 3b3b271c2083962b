"""Routes as sent to a sidecar. Resource name: `route/<namespace>/<name>`. Times are seconds as numbers.

Source of the matching rules: Gateway API HTTPRoute (precedence: exact path, longest prefix, regular expression,
method, number of headers, number of query parameters, then the order of the routes in the ServiceSpec, then the order
of rules).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from sidewinder_sidecar.snapshot.filters import FilterSpec


class ExactPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="Exact"):
    """The whole path, byte for byte, without the query."""

    value: str


class PrefixPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="PathPrefix"):
    """By path element: /a matches /a, /a/ and /a/b, not /ab. A trailing slash means nothing."""

    value: str


class RegexPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="RegularExpression"):
    """RE2, over the whole path. Named captures can be used by the rule's templates."""

    value: str


PathSpec: TypeAlias = ExactPath | PrefixPath | RegexPath


class ValueMatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A header's or query parameter's value. Header names are lower case."""

    name: str
    value: str
    type: Literal["Exact", "RegularExpression"] = "Exact"


class MatchSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of it must hold."""

    path: PathSpec = PrefixPath("/")
    method: str = ""  # "": any
    headers: tuple[ValueMatch, ...] = ()
    query: tuple[ValueMatch, ...] = ()


class WeightedBackend(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A share of a rule's requests. `backend` names a BackendSpec; "" is an invalid one: its share is answered 500."""

    backend: str
    weight: int = 1
    filters: tuple[FilterSpec, ...] = ()
    invalid: str = ""  # why `backend` is "": told in Proxy-Status


class CookieStickiness(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="Cookie"):
    """The proxy sets the cookie; its value names the backend. A lifetime of 0 is a session cookie."""

    name: str
    lifetime: float = 0.0


class HeaderStickiness(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="Header"):
    """Consistent hash of the header's value: when weights move, only the changed share of users moves."""

    name: str


Stickiness: TypeAlias = CookieStickiness | HeaderStickiness
RetryCondition: TypeAlias = Literal["ConnectFailure", "ResetBeforeRequest", "Reset", "Timeout"]

# RFC 9110 section 9.2.2: what may be sent twice without asking anybody.
IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")


class RetrySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`attempts` are retries, not tries. A method not listed is retried only with an Idempotency-Key."""

    attempts: int = 1
    codes: tuple[int, ...] = ()
    conditions: tuple[RetryCondition, ...] = ("ConnectFailure", "ResetBeforeRequest")
    methods: tuple[str, ...] = IDEMPOTENT
    backoff: float = 0.025
    max_backoff: float = 0.25


class RuleSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule of a route. `request_timeout` covers all tries, `backend_timeout` one; None is no limit of its own."""

    name: str
    matches: tuple[MatchSpec, ...] = (MatchSpec(),)
    filters: tuple[FilterSpec, ...] = ()
    backends: tuple[WeightedBackend, ...] = ()
    stickiness: Stickiness | None = None
    request_timeout: float | None = None
    backend_timeout: float | None = None
    retry: RetrySpec | None = None


class RouteSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One ApiRoute. `hostnames`: empty is any; else the request's host must match one (exact, or `*.suffix`)."""

    name: str  # "bookinfo/reviews"
    hostnames: tuple[str, ...] = ()
    rules: tuple[RuleSpec, ...]
