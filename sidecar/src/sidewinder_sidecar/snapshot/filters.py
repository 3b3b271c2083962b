"""A rule's own filters as sent: a tagged union, run in the order written. Field by field as in the Gateway API.

A template's captures (`{name}`) come from the path's regular expression of the match; the operator has proved them
defined.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from sidewinder_sidecar.snapshot.policies import CorsSpec


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


FilterSpec: TypeAlias = RequestHeaders | ResponseHeaders | Redirect | Rewrite | DirectResponse | Cors
