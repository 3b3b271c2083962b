"""How callers prove who they are, as sent. Part of `policies`. Times are seconds as numbers.

What a provider has verified ends in `call.attributes["claims"]` (a dict) and `["subject"]`. Secrets are in a type
that prints as `[redacted]`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Where in a request a credential is looked for. `prefix` is what stands before it in a header ("Bearer ")."""

    type: Literal["Header", "Query", "Cookie"] = "Header"
    name: str = "authorization"
    prefix: str = ""


class Forward(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A verified claim (or a key's metadata) as a header to the application; what a caller sends there is removed."""

    claim: str
    header: str  # lower case


class RequiredClaim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of `values` must be the claim, or among its members."""

    claim: str
    values: tuple[str, ...]


class JwtProvider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="JWT"):
    """RFC 7519 tokens, judged by RFC 8725. `keys` names a KeysSpec."""

    name: str
    keys: str
    issuer: str
    audiences: tuple[str, ...] = ()
    required_scopes: tuple[str, ...] = ()
    required_claims: tuple[RequiredClaim, ...] = ()
    skew: float = 60.0
    sources: tuple[Source, ...] = (Source(prefix="Bearer "),)
    forward: tuple[Forward, ...] = ()
    strip: bool = False  # the token goes no further


class ApiKeyProvider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="APIKey"):
    """Keys that are kept hashed. `credentials` names a CredentialsSpec."""

    name: str
    credentials: str
    sources: tuple[Source, ...] = (Source(name="x-api-key"),)
    forward: tuple[Forward, ...] = ()
    strip: bool = False


class BasicProvider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="Basic"):
    """RFC 7617. `credentials` names a CredentialsSpec."""

    name: str
    credentials: str
    realm: str = "sidewinder"
    forward: tuple[Forward, ...] = ()
    strip: bool = True


class IntrospectionProvider(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="OAuth2Introspection"
):
    """RFC 7662. `credentials` names a CredentialsSpec with the client's id and secret."""

    name: str
    uri: str
    credentials: str
    cache: float = 30.0
    timeout: float = 2.0
    audiences: tuple[str, ...] = ()
    required_scopes: tuple[str, ...] = ()
    sources: tuple[Source, ...] = (Source(prefix="Bearer "),)
    forward: tuple[Forward, ...] = ()
    strip: bool = False
    ca: str = ""  # PEM of who signs the server's certificate; "": the system's


class ExternalProvider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="External"):
    """A user's own HTTP service decides: 2xx lets pass, anything else is the answer."""

    name: str
    uri: str
    timeout: float = 2.0
    fail_open: bool = False
    send_headers: tuple[str, ...] = ("authorization", "cookie")
    allow_headers: tuple[str, ...] = ()  # of its answer, that go to the application
    ca: str = ""


Provider: TypeAlias = JwtProvider | ApiKeyProvider | BasicProvider | IntrospectionProvider | ExternalProvider


class AuthenticationSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One section. Optional: who sends nothing passes as nobody; what is sent must be valid in any case."""

    policy: str
    credentials: Literal["Optional", "Required"] = "Required"
    require: Literal["Any", "All"] = "Any"
    providers: tuple[Provider, ...] = ()


class KeysSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A JWK Set (RFC 7517) as the operator has it. Resource name: `keys/<name>`. `missing`: why there is none yet."""

    name: str
    jwks: str = ""  # JSON; public keys only
    missing: str = ""


class Secret(str):
    """Text that cannot be printed by accident."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "[redacted]"


class Credential(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One key, user or client. `hash` is `sha256:<hex>` for keys, a PHC string for passwords; `plain` only where the
    proxy itself must show it (a client secret)."""

    id: str
    hash: str = ""
    plain: str = ""
    plan: str = ""
    metadata: dict[str, str] = {}
    expires: float = 0.0  # seconds since 1970; 0: never

    def __repr__(self) -> str:
        return f"<Credential {self.id} [redacted]>"


class CredentialsSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a Secret says, read by the operator. Resource name: `credentials/<name>`; only to proxies that need it."""

    name: str
    credentials: tuple[Credential, ...] = ()
    missing: str = ""
