"""An issuer of tokens for tests: keys of every kind, JWK Sets of them, and tokens with any header and any claims.

Signing is PyJWT's algorithm objects over text that is put together here, so that what no library would write can be
written too.
"""

from __future__ import annotations

import base64
import functools
import json
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from sidewinder_sidecar.snapshot.authentication import KeysSpec

ISSUER = "https://idp.example"
AUDIENCE = "bookinfo"
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
_LIBRARY = get_default_algorithms()


@functools.cache
def private(algorithm: str = "RS256", name: str = "", bits: int = 2048) -> Any:
    """A key for that algorithm; `name` tells several from each other."""
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm]())
    if algorithm == "EdDSA":
        return ed448.Ed448PrivateKey.generate() if name == "Ed448" else ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, bits)


def jwk(algorithm: str = "RS256", kid: str | None = None, name: str = "", **more: Any) -> dict[str, Any]:
    """The public key as a JWK; a member that is None is left out."""
    found = dict(_LIBRARY[algorithm].to_jwk(private(algorithm, name).public_key(), as_dict=True))
    found.pop("key_ops", None)
    found |= {"kid": algorithm.lower() if kid is None else kid, "alg": algorithm, **more}
    return {member: value for member, value in found.items() if value is not None}


def jwks(*keys: Mapping[str, Any]) -> str:
    """A JWK Set."""
    return json.dumps({"keys": list(keys)})


def keys(*listed: Mapping[str, Any], name: str = "idp") -> KeysSpec:
    """The resource."""
    return KeysSpec(name=name, jwks=jwks(*listed)) if listed else KeysSpec(name=name, missing="away")


def b64(raw: bytes) -> bytes:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def claims(**more: Any) -> dict[str, Any]:
    """What passes; a claim that is None is left out."""
    now = int(time.time())
    found = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300, **more}
    return {name: value for name, value in found.items() if value is not None}


def token(
    said: Mapping[str, Any] | bytes | None = None,
    algorithm: str = "RS256",
    *,
    kid: str | None = None,
    name: str = "",
    header: Mapping[str, Any] | bytes | None = None,
    key: Any = None,
) -> bytes:
    """A signed token. `said` and `header` may be bytes as they stand; of `header` what is None is left out."""
    if not isinstance(header, bytes):
        written = {"alg": algorithm, "typ": "JWT", "kid": algorithm.lower() if kid is None else kid, **(header or {})}
        header = json.dumps({field: value for field, value in written.items() if value is not None}).encode()
    body = said if isinstance(said, bytes) else json.dumps(claims() if said is None else said).encode()
    signed = b64(header) + b"." + b64(body)
    return signed + b"." + b64(_LIBRARY[algorithm].sign(signed, key if key is not None else private(algorithm, name)))


def context(*specs: KeysSpec, now: Any = time.time, unknown_key: Any = lambda keys, done: None) -> Any:
    """What the builders of filters are given."""
    return SimpleNamespace(
        keys={spec.name: spec for spec in specs}, memory={}, clock=now, unknown_key=unknown_key, count=lambda *_: None
    )
