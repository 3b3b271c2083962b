"""The section `authentication`: how callers prove who they are. The payload of type JWT is in `jwt`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, TypeAlias

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, distinct, snake, union, within
from sidewinder_operator.resources.filters import FRAMING
from sidewinder_operator.resources.jwt import Audience, CredentialSource, ForwardClaim, Jwt, Pem, Scope, SecureUri
from sidewinder_operator.resources.meta import Strict
from sidewinder_operator.resources.names import HeaderName, ObjectName, SectionName
from sidewinder_operator.resources.quantity import Duration
from sidewinder_operator.resources.section import Merging, Section, Side

MOST_PROVIDERS = 8  # each may read the same token; a caller that has none of eight has none

# Also plain http: an authorization service of one's own is usually in the cluster.
ServiceUri: TypeAlias = Annotated[
    str,
    Meta(
        min_length=8,
        max_length=2048,
        pattern=r"^https?://[a-zA-Z0-9.\-_\[\]:]+(/[!-\"$-~]*)?\Z",
        extra={"right": "an http:// or https:// address without user and fragment"},
    ),
]
Sources: TypeAlias = Annotated[
    tuple[CredentialSource, ...], Meta(max_length=4, description="Where it may stand in a request. One at a time.")
]
Forwarded: TypeAlias = Annotated[
    tuple[ForwardClaim, ...], Meta(max_length=16, description="What is known of the caller, as headers.")
]


class SecretRef(Strict, frozen=True, kw_only=True):
    """A Secret of the policy's own namespace."""

    name: Annotated[ObjectName, Meta(description="The Secret.")]


class ApiKey(Strict, frozen=True, kw_only=True):
    """Keys that `sidewinder apikey` makes; the Secret keeps their hashes, with plan and metadata."""

    secret_ref: Annotated[SecretRef, Meta(description="Who has a key: an entry for each, named by its id.")]
    sources: Sources = ()
    forward_claims: Forwarded = ()
    strip_key: Annotated[bool, Meta(description="Whether the key goes no further than the proxy.")] = False


class Basic(Strict, frozen=True, kw_only=True):
    """User names and passwords, RFC 7617. The Secret's entry `users` has a line `name:hash` for each."""

    secret_ref: Annotated[SecretRef, Meta(description="Who the users are. `sidewinder apikey password` makes a line.")]
    realm: Annotated[
        str, Meta(min_length=1, max_length=128, pattern=r"^[ -~]+\Z", description="What people are asked to log in to.")
    ] = "sidewinder"
    forward_claims: Forwarded = ()
    strip_credentials: Annotated[bool, Meta(description="Whether the password goes no further than the proxy.")] = True


class Introspection(Strict, frozen=True, kw_only=True):
    """Tokens that their issuer is asked about, RFC 7662. What cannot be found out is refused."""

    uri: Annotated[SecureUri, Meta(description="Where to ask. Redirects are not followed.")]
    client_secret_ref: Annotated[SecretRef, Meta(description="Who asks: the entries `client-id` and `client-secret`.")]
    cache_duration: Annotated[
        Duration, Meta(description="How long an answer may be used, 0s to 1h, and never beyond the token's own end.")
    ] = "30s"
    timeout: Annotated[Duration, Meta(description="How long to wait for an answer, 10ms to 30s.")] = "2s"
    audiences: Annotated[
        tuple[Audience, ...],
        Meta(max_length=16, description="One of these must be in `aud`; without any, `aud` is not looked at.",
             extra={"list": "set"}),
    ] = ()  # fmt: skip
    required_scopes: Annotated[
        tuple[Scope, ...], Meta(max_length=16, description="All of these must be in `scope`.", extra={"list": "set"})
    ] = ()
    sources: Sources = ()
    forward_claims: Forwarded = ()
    strip_token: Annotated[bool, Meta(description="Whether the token goes no further than the proxy.")] = False
    ca: Annotated[
        Pem | None,
        Meta(description="Who signs the server's certificate, in PEM; without it, the system's authorities."),
    ] = None

    RULES: ClassVar[tuple[Rule, ...]] = (within("cacheDuration", "0s", "1h"), within("timeout", "10ms", "30s"))


Headers: TypeAlias = Annotated[tuple[HeaderName, ...], Meta(max_length=32, extra={"list": "set"})]


def _sendable(field: str) -> Rule:
    def find(value: External) -> Iterator[str]:
        for index, name in enumerate(getattr(value, snake(field))):
            if name.lower() in FRAMING:
                yield f"{field}[{index}]: {name}"

    return Rule(find, "headers of framing, of the connection, and Host are the proxy's own")


class External(Strict, frozen=True, kw_only=True):
    """An HTTP service of one's own decides: 2xx lets the request pass, anything else below 500 is the answer."""

    uri: Annotated[ServiceUri, Meta(description="Where to ask, by GET. The request is told in X-Forwarded- headers.")]
    timeout: Annotated[Duration, Meta(description="How long to wait for an answer, 10ms to 30s.")] = "2s"
    fail_open: Annotated[bool, Meta(description="Whether requests pass while the service does not answer.")] = False
    send_headers: Annotated[Headers, Meta(description="Of the request, what the service gets to see.")] = (
        "authorization",
        "cookie",
    )
    allow_headers: Annotated[
        Headers, Meta(description="Of its answer, what the application gets. Nobody else can send these.")
    ] = ()
    ca: Annotated[
        Pem | None,
        Meta(description="Who signs the server's certificate, in PEM; without it, the system's authorities."),
    ] = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        within("timeout", "10ms", "30s"), _sendable("sendHeaders"), _sendable("allowHeaders"),
    )  # fmt: skip


_PAYLOADS = {
    "JWT": "jwt",
    "APIKey": "apiKey",
    "Basic": "basic",
    "OAuth2Introspection": "oauth2Introspection",
    "External": "external",
}


class Provider(Strict, frozen=True, kw_only=True):
    """One way to prove who one is."""

    name: Annotated[SectionName, Meta(description="What logs call it.")]
    type: Annotated[
        Literal["JWT", "APIKey", "Basic", "OAuth2Introspection", "External"],
        Meta(description="Which of the five; its payload stands in the field of that name."),
    ]
    jwt: Annotated[Jwt | None, Meta(description="JSON Web Tokens of one issuer.")] = None
    api_key: Annotated[ApiKey | None, Meta(description="API keys.")] = None
    basic: Annotated[Basic | None, Meta(description="User names and passwords.")] = None
    oauth2_introspection: Annotated[Introspection | None, Meta(description="Tokens that their issuer knows.")] = None
    external: Annotated[External | None, Meta(description="An HTTP service of one's own.")] = None

    RULES: ClassVar[tuple[Rule, ...]] = union(_PAYLOADS)

    def secrets(self) -> tuple[str, ...]:
        """The Secrets that it needs, by name."""
        refs = (
            self.api_key.secret_ref if self.api_key is not None else None,
            self.basic.secret_ref if self.basic is not None else None,
            self.oauth2_introspection.client_secret_ref if self.oauth2_introspection is not None else None,
        )
        return tuple(ref.name for ref in refs if ref is not None)


class Authentication(Section, frozen=True, kw_only=True):
    """How callers prove who they are. Who may do what, `authorization` says."""

    SIDE: ClassVar[Side] = "Server"
    MERGING: ClassVar[Merging] = "Replace"
    SECURITY: ClassVar[bool] = True
    TARGETS: ClassVar[frozenset[str]] = frozenset({"Mesh", "Namespace", "Service"})

    credentials: Annotated[
        Literal["Optional", "Required"],
        Meta(description="Optional: who sends nothing passes as nobody. What is sent must be valid in any case."),
    ] = "Required"
    require: Annotated[
        Literal["Any", "All"],
        Meta(description="Any: each credential that is sent must be accepted by a provider. All: by every provider."),
    ] = "Any"
    providers: Annotated[
        tuple[Provider, ...],
        Meta(min_length=1, max_length=MOST_PROVIDERS, description="In this order.", extra={"list": "map"}),
    ]

    RULES: ClassVar[tuple[Rule, ...]] = (distinct("providers", "name"),)

    def secrets(self) -> tuple[str, ...]:
        """The Secrets that it needs, by name: who watches them asks here."""
        return tuple(dict.fromkeys(name for provider in self.providers for name in provider.secrets()))
