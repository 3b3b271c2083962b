"""A JSON Web Token taken apart: the compact form of a JWS (RFC 7515 section 7.1), and nothing else. No cryptography.

Refused before any signature is looked at: what is encrypted, nested, unsigned, or signed with a shared secret; headers
that must be understood (`crit`, `b64`); text that has more than one spelling. Keys and addresses of keys that a token
brings along (`jwk`, `jku`, `x5u`, `x5c`) are never read. Sources: RFC 7515, 7519, 7797, 8725.
"""

from __future__ import annotations

from typing import Final

from sidewinder_sidecar.filters.authenticate import strict
from sidewinder_sidecar.snapshot import jwks

LONGEST: Final = 8192  # bytes of a token
LONGEST_HEADER: Final = 4096  # of its first part: some issuers put a certificate there
TYPES: Final = frozenset({"jwt", "at+jwt"})  # RFC 8725 section 3.11: not logout tokens, not proofs, not requests


class Malformed(ValueError):
    """No token that could be judged; says why, without its content."""


class Token:
    """`signed` is what the signature is of; `claims` are read only once it has held."""

    __slots__ = ("algorithm", "claims", "key", "signature", "signed")

    def __init__(self, algorithm: str, key: str, signed: bytes, claims: bytes, signature: bytes) -> None:
        self.algorithm = algorithm
        self.key = key  # kid, "" for none
        self.signed = signed
        self.claims = claims  # JSON, by the issuer or by whoever made it up
        self.signature = signature

    def __repr__(self) -> str:
        return f"<Token {self.algorithm}>"


def parse(raw: bytes) -> Token:
    """The parts of a token. Raises Malformed."""
    if len(raw) > LONGEST:
        raise Malformed(f"the token is longer than {LONGEST} bytes")
    parts = raw.split(b".", 5)
    if len(parts) == 5:
        raise Malformed("the token is encrypted: a signed one is needed")
    if len(parts) != 3:
        raise Malformed("a token has three parts with a dot between them")
    first, second, third = parts
    if len(first) > LONGEST_HEADER:
        raise Malformed("the token's header is too long")
    algorithm, key = _header(_decoded(first))
    return Token(algorithm, key, raw[: len(first) + 1 + len(second)], _decoded(second), _decoded(third))


def _header(raw: bytes) -> tuple[str, str]:
    """Algorithm and key id."""
    try:
        header = strict.read(raw)
    except strict.Unclear as unclear:
        raise Malformed(f"the token's header cannot be used: {unclear}") from None
    if "crit" in header or "b64" in header:
        raise Malformed("the token demands extensions (crit, b64): none is understood")
    if "cty" in header:
        raise Malformed("the token holds another one: nested tokens are not taken")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in TYPES:
        raise Malformed("the token is of another type: JWT and at+jwt are taken")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in jwks.ALGORITHMS:
        raise Malformed("the token is not signed by an algorithm that is taken: RS, PS, ES 256 to 512, EdDSA")
    key = header.get("kid", "")
    if not isinstance(key, str) or len(key) > jwks.LONGEST_ID:
        raise Malformed("the token's kid is no text, or too long")
    return algorithm, key


def _decoded(part: bytes) -> bytes:
    found = jwks.decoded(part.decode("latin-1"))
    if found is None:
        raise Malformed("a part of the token is missing or no base64url")
    return found
