"""What a JWK Set (RFC 7517) may hold to verify tokens with, and its one way of being written. Pure; no cryptography.

The operator judges with it what issuers and users give, before it is sent; the sidecar makes keys of what it says, and
trusts it no further for having come from the operator. A key of a kind that nobody here verifies with is passed over,
as the RFC wants; one that holds what must be secret spoils the whole set.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

LARGEST = 1 << 20  # bytes of a JWK Set; a hundred keys of 8192 bits with their certificates are a third of that
MOST_KEYS = 100
LEAST_RSA, MOST_RSA = 2048, 8192  # bits: RFC 7518 section 3.3; verifying with more costs a millisecond
LONGEST_ID = 256  # characters of a kid

RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
# crv → its one algorithm and the length of a coordinate in bytes
CURVES: Mapping[str, tuple[str, str, int]] = {
    "P-256": ("EC", "ES256", 32),
    "P-384": ("EC", "ES384", 48),
    "P-521": ("EC", "ES512", 66),
    "Ed25519": ("OKP", "EdDSA", 32),
    "Ed448": ("OKP", "EdDSA", 57),
}
ALGORITHMS = frozenset((*RSA, "ES256", "ES384", "ES512", "EdDSA"))
_SECRET = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")  # RFC 7518 sections 6.2.2, 6.3.2, 6.4.1
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


class Unfit(ValueError):
    """No JWK Set that could be used; says why, without any of its content."""


class Jwk(msgspec.Struct, frozen=True, omit_defaults=True, rename={"identifier": "kid"}):
    """A public key. Its algorithm is settled: that of the key, else the one its kind has (RSA: RS256)."""

    kty: str
    alg: str
    identifier: str = ""
    crv: str = ""
    n: str = ""
    e: str = ""
    x: str = ""
    y: str = ""


class JwkSet(msgspec.Struct, frozen=True):
    """The keys that can be used, and why others cannot."""

    keys: tuple[Jwk, ...]
    passed_over: tuple[str, ...] = ()

    def text(self) -> str:
        """As it is sent: only what is needed of each key, sorted, so that the same keys are the same text."""
        keys = sorted(self.keys, key=lambda key: (key.identifier, key.alg, key.n, key.x))
        return msgspec.json.encode({"keys": keys}).decode()


def judge(raw: bytes | str) -> JwkSet:
    """What is in a JWK Set. Raises Unfit."""
    if len(raw) > LARGEST:
        raise Unfit(f"more than {LARGEST >> 20} MB")
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unfit("it is not JSON") from None
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise Unfit('it is no JWK Set: that is an object with a list "keys"')
    if len(listed) > MOST_KEYS:
        raise Unfit(f"{len(listed)} keys; {MOST_KEYS} are the most")
    keys: list[Jwk] = []
    passed_over: list[str] = []
    for number, key in enumerate(listed):
        judged = _key(key, number)
        if isinstance(judged, str):
            passed_over.append(f"keys[{number}]: {judged}")
        else:
            keys.append(judged)
    _distinct(keys)
    if not keys:
        raise Unfit("no key in it can verify a token" + "".join(f"; {why}" for why in passed_over[:3]))
    return JwkSet(tuple(keys), tuple(passed_over))


def _distinct(keys: list[Jwk]) -> None:
    """One identifier, one key: else which of them it was would be the token's choice."""
    seen: dict[tuple[str, str], Jwk] = {}
    for key in keys:
        if seen.setdefault((key.identifier, key.alg), key) != key and key.identifier:
            raise Unfit("two keys have the same kid")


def _key(key: Any, number: int) -> Jwk | str:
    """The key, or why it is passed over. Raises Unfit for what spoils the set."""
    if not isinstance(key, dict):
        raise Unfit(f"keys[{number}] is no object")
    kind = key.get("kty")
    if kind == "oct" or any(name in key for name in _SECRET):
        raise Unfit(f"keys[{number}] holds what must be secret: whoever can read it can sign tokens")
    if kind not in ("RSA", "EC", "OKP"):
        return "its kty is not RSA, EC or OKP"
    if why := _purpose(key):
        return why
    identifier, algorithm = key.get("kid", ""), key.get("alg", "")
    if not isinstance(identifier, str) or len(identifier) > LONGEST_ID or not isinstance(algorithm, str):
        return "its kid or alg is no text, or too long"
    return _rsa(key, identifier, algorithm) if kind == "RSA" else _curve(key, kind, identifier, algorithm)


def _purpose(key: dict[str, Any]) -> str:
    """RFC 7517 sections 4.2 and 4.3: a key for something else is not for this."""
    if key.get("use", "sig") != "sig":
        return "its use is not sig"
    operations = key.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return "its key_ops are without verify"
    return ""


def _rsa(key: dict[str, Any], identifier: str, algorithm: str) -> Jwk | str:
    modulus, exponent = decoded(key.get("n")), decoded(key.get("e"))
    if modulus is None or exponent is None:
        return "its n or e is no base64url"
    bits = int.from_bytes(modulus, "big").bit_length()
    if not LEAST_RSA <= bits <= MOST_RSA:
        return f"an RSA key of {bits} bits; {LEAST_RSA} to {MOST_RSA} are taken"
    power = int.from_bytes(exponent, "big")
    if power % 2 == 0 or not 3 <= power < 1 << 32:  # with 1, every text is its own signature
        return "its exponent is not an odd number from 3 to 2³²"
    if algorithm and algorithm not in RSA:
        return "its alg is not one of RSA signatures: RS256 to RS512, PS256 to PS512"
    return Jwk(kty="RSA", alg=algorithm or "RS256", identifier=identifier, n=key["n"], e=key["e"])


def _curve(key: dict[str, Any], kind: str, identifier: str, algorithm: str) -> Jwk | str:
    name = key.get("crv")
    of, only, length = CURVES.get(name, ("", "", 0)) if isinstance(name, str) else ("", "", 0)
    if of != kind:
        return f"its crv is not one of {kind}: " + ", ".join(crv for crv, row in CURVES.items() if row[0] == kind)
    if algorithm and algorithm != only:
        return f"its alg is not {only}, which is that of its curve"
    places = ("x", "y") if kind == "EC" else ("x",)
    for place in places:
        if len(decoded(key.get(place)) or b"") != length:
            return f"its {place} is no base64url of {length} bytes"
    return Jwk(kty=kind, alg=only, identifier=identifier, crv=str(name), x=key["x"], y=key["y"] if kind == "EC" else "")


def decoded(text: object) -> bytes | None:
    """Base64url without padding (RFC 7515 section 2), in the one spelling that its bytes have; None for anything
    else."""
    if not isinstance(text, str) or not _BASE64URL.fullmatch(text):
        return None
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == text else None


def members(key: Jwk) -> Iterator[tuple[str, str]]:
    """What a library reads: the members of the key that are set, by the names of RFC 7517."""
    for name in ("kty", "alg", "crv", "n", "e", "x", "y"):
        if value := getattr(key, name):
            yield name, value
