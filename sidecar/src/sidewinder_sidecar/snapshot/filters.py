"""A rule's own filters as sent: a tagged union, run in the order written. Field by field as in the Gateway API.

A template's captures (`{name}`) come from the path's regular expression of the match; the operator has proved them
defined.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from sidewinder_sidecar.snapshot.policies import CorsSpec, SizesSpec


class FullPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ReplaceFullPath"):
    """Replaces the path; the query stays."""

    value: str


class PrefixReplacement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ReplacePrefixMatch"):
    """Replaces the prefix that the rule's PathPrefix matched."""

    value: str


class TemplatePath(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ReplaceTemplate"):
    """Replaces the path by the template with the captures filled in; the query stays."""

    value: str


PathReplacement: TypeAlias = FullPath | PrefixReplacement | TemplatePath


class FieldValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A header to set or add: its name as written and a value, or a template when `template` is set."""

    name: str
    value: str
    template: bool = False


class RequestHeaders(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="RequestHeaderModifier"
):
    """Set replaces all of that name, add appends, remove takes all of that name away."""

    set: tuple[FieldValue, ...] = ()
    add: tuple[FieldValue, ...] = ()
    remove: tuple[str, ...] = ()


class ResponseHeaders(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="ResponseHeaderModifier"
):
    """The same for the response."""

    set: tuple[FieldValue, ...] = ()
    add: tuple[FieldValue, ...] = ()
    remove: tuple[str, ...] = ()


class Redirect(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="RequestRedirect"):
    """What is not set is taken from the request; port as in HTTPRequestRedirectFilter (well-known left out)."""

    scheme: Literal["", "http", "https"] = ""
    hostname: str = ""
    port: int = 0
    path: PathReplacement | None = None
    status: Literal[301, 302, 303, 307, 308] = 302


class Rewrite(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="URLRewrite"):
    """Changes what the upstream sees as host and path."""

    hostname: str = ""
    path: PathReplacement | None = None


class DirectResponse(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="DirectResponse"):
    """Answers without an upstream."""

    status: int = 200
    body: str = ""
    headers: tuple[FieldValue, ...] = ()


class Cors(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="CORS"):
    """The same as a section `cors`, at the caller's side: it beats what the called says of CORS."""

    spec: CorsSpec


class SizeLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="SizeLimits"):
    """What a section `sizeLimits` on the route says, at the caller's side: the smaller of it and the called's holds."""

    spec: SizesSpec


class Mirror(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="RequestMirror"):
    """Sends a copy of `numerator` of `denominator` requests to `backend`, a BackendSpec's name; no one gets its answer.

    With `compare` it is read, and where it differs from the caller's is counted and told.
    """

    backend: str
    numerator: int = 1
    denominator: int = 1
    compare: bool = False


class Delay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Holds requests for so many seconds, `numerator` of `denominator`."""

    seconds: float
    numerator: int = 1
    denominator: int = 1


class Abort(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Answers with `status`, or resets the caller's connection where it is 0, `numerator` of `denominator`."""

    status: int = 0
    numerator: int = 1
    denominator: int = 1


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="Fault"):
    """Goes wrong on purpose. `headers`: a request may ask for it; `expires`: seconds since 1970, 0.0 is never."""

    delay: Delay | None = None
    abort: Abort | None = None
    headers: bool = False
    expires: float = 0.0


FilterSpec: TypeAlias = (
    RequestHeaders | ResponseHeaders | Redirect | Rewrite | DirectResponse | Cors | SizeLimits | Mirror | Fault
)
