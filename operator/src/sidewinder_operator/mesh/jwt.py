"""A provider of type JWT, as meant: what a token must say, and which keys it is signed with."""

from __future__ import annotations

from typing import Literal

import msgspec


class MeshKeys(msgspec.Struct, frozen=True, kw_only=True):
    """A JWK Set under the name that sidecars know it by. `missing`: why there is none."""

    id: str
    jwks: str = ""
    missing: str = ""


class MeshSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where in a request a credential is looked for."""

    type: Literal["Header", "Query", "Cookie"]
    name: str
    prefix: str = ""


class MeshForward(msgspec.Struct, frozen=True, kw_only=True):
    """A verified claim as a header."""

    claim: str
    header: str


class MeshClaim(msgspec.Struct, frozen=True, kw_only=True):
    """A claim and what it may be."""

    claim: str
    values: tuple[str, ...]


class MeshJwt(msgspec.Struct, frozen=True, kw_only=True):
    """`name` is the provider's, as users call it. Times are seconds."""

    name: str
    keys: MeshKeys
    issuer: str
    audiences: tuple[str, ...] = ()
    required_scopes: tuple[str, ...] = ()
    required_claims: tuple[MeshClaim, ...] = ()
    skew: float = 60.0
    sources: tuple[MeshSource, ...] = ()
    forward: tuple[MeshForward, ...] = ()
    strip: bool = False
