"""What a token's claims must say before anybody believes them: RFC 7519 section 4, RFC 8725 sections 3.8 to 3.12.

Made once for a provider; asked for each token that is not remembered. A refusal names the claim, never its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sidewinder_sidecar.claims import find, texts
from sidewinder_sidecar.filters.authenticate.verdict import INVALID, SCOPE, Refusal
from sidewinder_sidecar.snapshot.authentication import JwtProvider

LATEST: Final = 253_402_300_800.0  # seconds since 1970: the year 10000; times in milliseconds are beyond it


class Demands:
    """The provider's demands."""

    __slots__ = ("_audiences", "_claims", "_issuer", "_scope", "_scopes", "_skew")

    def __init__(self, spec: JwtProvider) -> None:
        self._issuer = spec.issuer
        self._audiences = frozenset(spec.audiences)
        self._scopes = frozenset(spec.required_scopes)
        self._scope = " ".join(spec.required_scopes)
        self._claims = tuple((each.claim, frozenset(each.values)) for each in spec.required_claims)
        self._skew = spec.skew

    def until(self, claims: Mapping[str, Any]) -> float:
        """When what `refuse` has let pass ends, in seconds since 1970."""
        return float(claims["exp"]) + self._skew

    def refuse(self, claims: Mapping[str, Any], now: float) -> Refusal | None:
        """Why these claims are not enough; None: they are."""
        why = self._identity(claims) or self._time(claims, now)
        if why:
            return Refusal(INVALID, why)
        for claim, values in self._claims:
            if values.isdisjoint(texts(find(claims, claim))):
                return Refusal(INVALID, "the token lacks a claim that is required, or the claim has another value")
        if self._scopes and not self._scopes <= scopes(claims):
            return Refusal(SCOPE, "the token does not have the scope that is needed", self._scope)
        return None

    def _identity(self, claims: Mapping[str, Any]) -> str:
        """Who made it, and for whom."""
        if claims.get("iss") != self._issuer:
            return "the token is of another issuer"
        audience = claims.get("aud", [])
        named = [audience] if isinstance(audience, str) else audience
        if not isinstance(named, list) or not all(isinstance(each, str) for each in named):
            return "the token's audience is no text and no list of texts"
        if self._audiences.isdisjoint(named) if self._audiences else bool(named):
            return "the token is for another audience"
        for name in ("sub", "azp", "jti"):
            if not isinstance(claims.get(name, ""), str):
                return f"the token's {name} is no text"
        return ""

    def _time(self, claims: Mapping[str, Any], now: float) -> str:
        """Whether it holds already, and still."""
        times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
        for name, value in times.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LATEST:
                return f"the token's {name} is no time in seconds"
        if "exp" not in times:
            return "the token never expires: exp is required"
        if now >= times["exp"] + self._skew:
            return "the token has expired"
        if now < times.get("nbf", 0) - self._skew:
            return "the token is not valid yet"
        if now < times.get("iat", 0) - self._skew:
            return "the token is from the future"
        return ""


def scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """What the token may be used for: `scope` (RFC 8693 section 4.2) or `scp`, a text with blanks or a list."""
    value = claims.get("scope", claims.get("scp", ""))
    if isinstance(value, str):
        return frozenset(value.split(" "))
    return frozenset(each for each in value if isinstance(each, str)) if isinstance(value, list) else frozenset()
