"""The provider JWT: is this token one that the issuer has signed, for us, for now? Made by the frame for each provider.

1. What was verified is remembered until it expires: a repeat costs a digest and a look-up.
2. `token` takes it apart, `keys` finds the key and checks the signature, only then are claims read; `demands` judges.
3. A key id that nobody knows may be a new key: the operator is told, and the request waits a little for it. How often
   that may be, whoever stands behind `unknown_key` decides; when it is too often, the answer comes at once.
4. Without any key nobody is let in. A request waits for the first keys in the same way, so that a policy that has just
   come costs nobody anything; then the answer says that it is not the token's fault.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from sidewinder_sidecar.filters.authenticate import strict
from sidewinder_sidecar.filters.authenticate.demands import Demands
from sidewinder_sidecar.filters.authenticate.keys import KeySet, signs
from sidewinder_sidecar.filters.authenticate.remembered import Remembered
from sidewinder_sidecar.filters.authenticate.token import Malformed, Token, parse
from sidewinder_sidecar.filters.authenticate.verdict import INVALID, UNAVAILABLE, Pending, Refusal, Verdict, Verified
from sidewinder_sidecar.snapshot.authentication import JwtProvider, KeysSpec

if TYPE_CHECKING:
    from sidewinder_sidecar.filters.authenticate.verdict import Verify
    from sidewinder_sidecar.filters.context import Context
    from sidewinder_sidecar.messages import Call

PLACE: Final = "jwt"  # in what outlives plans
UNKNOWN: Final = Refusal(INVALID, "the token is signed with a key that the issuer does not have")
NO_KEYS: Final = Refusal(UNAVAILABLE, "the issuer's keys are not known, so no token can be verified")
OTHERWISE: Final = Refusal(INVALID, "the token's algorithm is not that of its key")
FORGED: Final = Refusal(INVALID, "the token's signature does not hold")


class Shelf:
    """What outlives a plan: keys that were made, and tokens that were verified with them. One for a process; what no
    plan uses any more is gone by itself."""

    __slots__ = ("_keys", "_tokens")

    def __init__(self) -> None:
        self._keys: WeakValueDictionary[KeysSpec, KeySet] = WeakValueDictionary()
        self._tokens: WeakValueDictionary[tuple[JwtProvider, KeysSpec], Remembered] = WeakValueDictionary()

    def keys(self, spec: KeysSpec) -> KeySet:
        """The keys, made once: a hundred take milliseconds."""
        if (found := self._keys.get(spec)) is None:
            found = self._keys[spec] = KeySet(spec)
        return found

    def tokens(self, provider: JwtProvider, spec: KeysSpec) -> Remembered:
        """What was verified by these demands and these keys."""
        if (found := self._tokens.get((provider, spec))) is None:
            found = self._tokens[provider, spec] = Remembered()
        return found


def build(spec: JwtProvider, context: Context) -> Verify:
    """How the provider judges a token."""
    return Verifier(spec, context).verify


class Verifier:
    """One provider, with the keys of one plan."""

    __slots__ = ("_clock", "_demands", "_keys", "_known", "_shelf", "_unknown_key")

    def __init__(self, spec: JwtProvider, context: Context) -> None:
        keys = context.keys[spec.keys]
        self._shelf: Shelf = context.memory.get(PLACE) or context.memory.setdefault(PLACE, Shelf())
        self._keys = self._shelf.keys(keys)
        self._known: Remembered = self._shelf.tokens(spec, keys)
        self._demands = Demands(spec)
        self._clock: Callable[[], float] = context.clock
        self._unknown_key = context.unknown_key

    def verify(self, call: Call, credential: bytes) -> Verified | Refusal | Pending:
        """What a token is worth."""
        digest = sha256(credential).digest()
        if (verified := self._known.find(digest, self._clock())) is not None:
            return verified
        try:
            token = parse(credential)
        except Malformed as malformed:
            return Refusal(INVALID, str(malformed))
        if not self._keys.find(token):
            return self._ask(token)
        verdict = self._judge(token, self._keys)
        if isinstance(verdict, Verified):
            self._known.keep(digest, verdict, self._demands.until(verdict.claims), len(token.claims))
        return verdict

    def _judge(self, token: Token, keys: KeySet) -> Verdict:
        """Signature first, then what it is a signature of."""
        if not (found := keys.find(token)):
            return NO_KEYS if keys.missing else UNKNOWN
        if not signs(found, token):
            return FORGED if any(key.algorithm == token.algorithm for key in found) else OTHERWISE
        try:
            claims = strict.read(token.claims)
        except strict.Unclear as unclear:
            return Refusal(INVALID, f"the token's claims cannot be used: {unclear}")
        return self._demands.refuse(claims, self._clock()) or Verified(claims, claims.get("sub", ""))

    def _ask(self, token: Token) -> Refusal | Pending:
        """A key that is not known, yet or at all."""

        def newer(spec: KeysSpec | None) -> None:
            pending.answer(self._judge(token, self._keys if spec is None else self._shelf.keys(spec)))

        question = self._unknown_key(self._keys.spec, newer)
        if question is None:
            return NO_KEYS if self._keys.missing else UNKNOWN
        pending = Pending(lambda _: question.cancel())
        return pending
