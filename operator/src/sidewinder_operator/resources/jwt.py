"""The payload of a provider of type JWT: whose tokens count, where their keys are, and what a token must say.

Part of the section `authentication`, whose other providers use `CredentialSource` and `ForwardClaim` too. Sources: RFC
7519, RFC 8725 and OpenID Connect Discovery 1.0.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, TypeAlias

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, holds, union, within
from sidewinder_operator.resources.filters import FRAMING
from sidewinder_operator.resources.meta import Strict
from sidewinder_operator.resources.names import HeaderName, ObjectName
from sidewinder_operator.resources.quantity import Duration

LONGEST_JWKS = 65_536  # characters written in place: a hundred RSA keys of 4096 bits need 70 % of it

# What a header can hold and no person mistakes: visible ASCII.
ClaimName: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        pattern=r"^[!-~]+\Z",
        extra={"right": "a claim's name such as `groups`, or `realm_access.roles` for a member of an object"},
    ),
]
Audience: TypeAlias = Annotated[str, Meta(min_length=1, max_length=1024)]
# RFC 6749 section 3.3: the characters of a scope.
Scope: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        pattern=r"^[!#-\[\]-~]+\Z",
        extra={"right": "a scope such as `reviews:read`: visible ASCII without quotes, backslashes and blanks"},
    ),
]
# https, for who answers decides who is let in; http only where nobody is in between: on this machine, in local mode.
SecureUri: TypeAlias = Annotated[
    str,
    Meta(
        min_length=9,
        max_length=2048,
        pattern=r"^(https://[a-zA-Z0-9.\-_\[\]:]+|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?)(/[!-\"$-~]*)?\Z",
        extra={"right": "an https:// address without user and fragment (http:// only to this machine, in local mode)"},
    ),
]
ConfigKey: TypeAlias = Annotated[
    str,
    Meta(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+\Z", extra={"right": "a key such as `jwks.json`"}),
]
Prefix: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=64, pattern=r"^[!-~]+ ?\Z", extra={"right": "a scheme such as `Bearer `"})
]
Pem: TypeAlias = Annotated[str, Meta(min_length=1, max_length=65_536)]

_WHOLE = re.compile(SecureUri.__metadata__[0].pattern)  # type: ignore[attr-defined]


def is_secure(uri: str) -> bool:
    """Whether keys may be fetched from there, or by a discovery document at an issuer of that name."""
    return _WHOLE.match(uri) is not None


class CredentialSource(Strict, frozen=True, kw_only=True):
    """Where in a request a credential is looked for."""

    type: Annotated[Literal["Header", "Query", "Cookie"], Meta(description="Which part of the request.")]
    name: Annotated[HeaderName, Meta(description="The header, the query's parameter or the cookie.")]
    prefix: Annotated[
        Prefix | None,
        Meta(description="What stands before it in a header, such as `Bearer `, compared without regard to case."),
    ] = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: self.prefix is None or self.type == "Header",
            "prefix belongs to type Header and may stand only there",
            cel="!has(self.prefix) || self.type == 'Header'",
            field="prefix",
        ),
    )


class ForwardClaim(Strict, frozen=True, kw_only=True):
    """A verified claim as a header for the application. Whatever a caller sends by that name is removed."""

    claim: Annotated[ClaimName, Meta(description="The claim; members of a list are joined by commas.")]
    header: Annotated[HeaderName, Meta(description="The header.")]

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: self.header.lower() not in FRAMING,
            "headers of framing, of the connection, and Host are the proxy's own",
            field="header",
        ),
    )


class RequiredClaim(Strict, frozen=True, kw_only=True):
    """A claim that a token must have."""

    claim: Annotated[ClaimName, Meta(description="The claim.")]
    values: Annotated[
        tuple[Annotated[str, Meta(max_length=1024)], ...],
        Meta(min_length=1, max_length=16, description="One of these; of a claim that is a list, any of its members."),
    ]


class RemoteJwks(Strict, frozen=True, kw_only=True):
    """Keys that the issuer publishes. The operator fetches them, once for the whole mesh."""

    uri: Annotated[SecureUri, Meta(description="Where they are. Redirects are not followed.")]
    cache_duration: Annotated[
        Duration,
        Meta(description="How old keys may become, 30s to 24h; the issuer's own headers may say less."),
    ] = "10m"
    ca: Annotated[
        Pem | None,
        Meta(description="Who signs the issuer's certificate, in PEM; without it, the system's authorities."),
    ] = None

    RULES: ClassVar[tuple[Rule, ...]] = (within("cacheDuration", "30s", "24h"),)


class DiscoveryJwks(Strict, frozen=True, kw_only=True):
    """Keys whose place the issuer tells at `<issuer>/.well-known/openid-configuration`."""

    cache_duration: Annotated[
        Duration,
        Meta(description="How old keys may become, 30s to 24h; the issuer's own headers may say less."),
    ] = "10m"
    ca: Annotated[
        Pem | None,
        Meta(description="Who signs the issuer's certificate, in PEM; without it, the system's authorities."),
    ] = None

    RULES: ClassVar[tuple[Rule, ...]] = (within("cacheDuration", "30s", "24h"),)


class ConfigMapJwks(Strict, frozen=True, kw_only=True):
    """Keys in a ConfigMap of the policy's own namespace."""

    name: Annotated[ObjectName, Meta(description="The ConfigMap.")]
    key: Annotated[ConfigKey, Meta(description="The key in it whose value is the JWK Set.")] = "jwks.json"


class Jwks(Strict, frozen=True, kw_only=True):
    """Where the public keys are that tokens are signed with: a JWK Set, RFC 7517."""

    type: Annotated[
        Literal["Remote", "Discovery", "Inline", "ConfigMap"],
        Meta(description="Which of the four; its payload stands in the field of that name."),
    ]
    remote: Annotated[RemoteJwks | None, Meta(description="An address.")] = None
    discovery: Annotated[DiscoveryJwks | None, Meta(description="OpenID Connect discovery; may stay away.")] = None
    inline: Annotated[
        Annotated[str, Meta(min_length=1, max_length=LONGEST_JWKS)] | None, Meta(description="The JWK Set itself.")
    ] = None
    config_map: Annotated[ConfigMapJwks | None, Meta(description="A ConfigMap.")] = None

    RULES: ClassVar[tuple[Rule, ...]] = union(
        {"Remote": "remote", "Discovery": "discovery", "Inline": "inline", "ConfigMap": "configMap"},
        optional=("discovery",),
    )


class Jwt(Strict, frozen=True, kw_only=True):
    """JSON Web Tokens of one issuer. The algorithm is the key's: RS, PS and ES 256 to 512, and EdDSA."""

    issuer: Annotated[
        str, Meta(min_length=1, max_length=2048, pattern=r"^[!-~]+\Z", description="What `iss` must be, exactly.")
    ]
    audiences: Annotated[
        tuple[Audience, ...],
        Meta(
            max_length=16,
            description="One of these must be in `aud`. Without any, only tokens that have no audience are taken.",
            extra={"list": "set"},
        ),
    ] = ()
    jwks: Annotated[
        Jwks | None, Meta(description="Where the keys are. Without it, the issuer's discovery document says.")
    ] = None
    required_scopes: Annotated[
        tuple[Scope, ...],
        Meta(max_length=16, description="All of these must be in `scope` or `scp`.", extra={"list": "set"}),
    ] = ()
    required_claims: Annotated[
        tuple[RequiredClaim, ...], Meta(max_length=16, description="What else a token must say; all of it.")
    ] = ()
    clock_skew: Annotated[Duration, Meta(description="How far the issuer's clock may be from ours: 0s to 5m.")] = "60s"
    sources: Annotated[
        tuple[CredentialSource, ...],
        Meta(max_length=4, description="Where a token may stand. Without any: `Authorization: Bearer`. One at a time."),
    ] = ()
    forward_claims: Annotated[
        tuple[ForwardClaim, ...], Meta(max_length=16, description="Claims as headers for the application.")
    ] = ()
    strip_token: Annotated[bool, Meta(description="Whether the token goes no further than the proxy.")] = False

    RULES: ClassVar[tuple[Rule, ...]] = (
        within("clockSkew", "0s", "5m"),
        holds(
            lambda self: (self.jwks is not None and self.jwks.type != "Discovery") or is_secure(self.issuer),
            "without keys of another place, the issuer is where they are looked for: an https:// address",
            cel="has(self.jwks) && self.jwks.type != 'Discovery' || self.issuer.startsWith('https://')"
            " || self.issuer.startsWith('http://')",
            field="issuer",
        ),
    )
