"""The keys of an issuer, ready to verify with. Only here are `jwt` and `cryptography` loaded, by the first policy that
needs them.

PyJWT makes keys of JWKs and verifies signatures; which key and which algorithm is decided here. The algorithm is the
key's (snapshot.jwks has settled it), and a token that names another one is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sidewinder_sidecar.snapshot import jwks

if TYPE_CHECKING:
    from sidewinder_sidecar.filters.authenticate.token import Token
    from sidewinder_sidecar.snapshot.authentication import KeysSpec

MOST_TRIED: Final = 8  # keys without a kid that a token is tried with: an issuer has one or two, each costs 30–150 µs

Check: TypeAlias = Callable[[bytes, bytes], bool]  # what was signed, the signature


class Key:
    """A public key with its algorithm."""

    __slots__ = ("algorithm", "check")

    def __init__(self, algorithm: str, check: Check) -> None:
        self.algorithm = algorithm
        self.check = check

    def __repr__(self) -> str:
        return f"<Key {self.algorithm}>"


class KeySet:
    """`missing`: why there is no key at all, "" if there is one."""

    __slots__ = ("__weakref__", "_by_id", "_nameless", "missing", "spec")

    def __init__(self, spec: KeysSpec) -> None:
        self.spec = spec
        self.missing = "" if spec.jwks else spec.missing or "there are none"
        self._by_id: dict[str, list[Key]] = {}
        self._nameless: list[Key] = []
        if spec.jwks:
            self._load(spec.jwks)

    def _load(self, text: str) -> None:
        try:
            found = jwks.judge(text)
        except jwks.Unfit as unfit:
            self.missing = f"what there is cannot be used: {unfit}"
            return
        for jwk in found.keys:
            if (key := _key(jwk)) is None:
                continue
            if jwk.identifier:
                self._by_id.setdefault(jwk.identifier, []).append(key)
            elif len(self._nameless) < MOST_TRIED:
                self._nameless.append(key)
        if not self._by_id and not self._nameless:
            self.missing = "none of the keys is one"

    def find(self, token: Token) -> list[Key]:
        """The keys that may have signed it, of any algorithm; none for a kid that is not known."""
        if token.key:
            return self._by_id.get(token.key) or self._nameless
        return self._nameless or [key for keys in self._by_id.values() for key in keys][:MOST_TRIED]

    def __repr__(self) -> str:
        return f"<KeySet {self.spec.name} {len(self._by_id)} keys{' ' + self.missing if self.missing else ''}>"


def signs(keys: list[Key], token: Token) -> bool:
    """Has one of these signed it, with the algorithm that the token names?"""
    return any(key.algorithm == token.algorithm and key.check(token.signed, token.signature) for key in keys)


def _key(jwk: jwks.Jwk) -> Key | None:
    """None for what is written like a key and is none, such as a point beside its curve."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from jwt.algorithms import get_default_algorithms
    from jwt.exceptions import PyJWTError

    algorithm: Any = get_default_algorithms()[jwk.alg]
    try:
        public = algorithm.prepare_key(algorithm.from_jwk(dict(jwks.members(jwk))))
    except (ValueError, TypeError, UnsupportedAlgorithm, PyJWTError):
        return None

    def check(signed: bytes, signature: bytes) -> bool:
        return bool(algorithm.verify(signed, public, signature))

    return Key(jwk.alg, check)
