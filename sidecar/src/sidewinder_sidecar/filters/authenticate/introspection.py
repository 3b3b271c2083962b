"""OAuth 2.0 token introspection (RFC 7662): the authorization server is asked what a token is. Built by `provider`.

Answers are kept for `cache` seconds and never beyond the token's own end, by the token's hash and not by the token. A
token that is asked about already is not asked about twice: who comes meanwhile waits for the same answer. How many
questions run at once is bounded, and who would wait for longer than an answer may take is told that nobody knows. What
cannot be found out is refused. The cache belongs to the process: a change of configuration does not empty it.
"""

from __future__ import annotations

from base64 import b64encode
from collections import OrderedDict, deque
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus

from sidewinder_sidecar.filters.authenticate import strict
from sidewinder_sidecar.filters.authenticate.complaint import Complaint
from sidewinder_sidecar.filters.authenticate.verdict import (
    INVALID,
    SCOPE,
    UNAVAILABLE,
    Pending,
    Refusal,
    Verdict,
    Verified,
    Verify,
)
from sidewinder_sidecar.messages import Call
from sidewinder_sidecar.snapshot.authentication import IntrospectionProvider
from sidewinder_sidecar.upstream.ask import Answer, Ask, Question, place

if TYPE_CHECKING:
    from sidewinder_sidecar.filters.context import Context

MOST_BYTES: Final = 65536  # of an answer; one with a thousand groups has 30 KB
MOST_KEPT: Final = 10_000  # tokens
KEPT_BYTES: Final = 8 << 20  # of their answers
REFUSED_SECONDS: Final = 5.0  # how long a token stays refused unasked, at most: it may be activated at any moment
AT_ONCE: Final = 32  # questions to one server; more would only wait there
WAITING: Final = 256  # questions that wait for their turn
MOST_TIME: Final = 1e12  # seconds since 1970; what is later never comes
SKEW: Final = 60.0  # seconds that a token may be used before `nbf`, as with JWTs

_INACTIVE: Final = Refusal(INVALID, "the token is not active")
_AUDIENCE: Final = Refusal(INVALID, "the token is meant for somebody else")
_UNKNOWN: Final = Refusal(UNAVAILABLE, "the token cannot be checked just now")


class Known:
    """What was answered about a token: its claims, None when it is not active. Of no use from `until` on."""

    __slots__ = ("claims", "size", "until")

    def __init__(self, claims: dict[str, Any] | None, until: float, size: int) -> None:
        self.claims = claims
        self.until = until
        self.size = size


class Server:
    """One authorization server, asked by one client: what it has said, what it is being asked. Outlives plans."""

    __slots__ = ("asked", "kept", "running", "size", "waiting")

    def __init__(self) -> None:
        self.kept: OrderedDict[bytes, Known] = OrderedDict()  # by SHA-256 of the token; the oldest first
        self.size = 0
        self.asked: dict[bytes, list[tuple[Pending, Introspection]]] = {}  # who waits for the answer about a token
        self.running = 0
        self.waiting: deque[tuple[float, bytes, bytes]] = deque()  # since when, whose hash, the token

    def find(self, key: bytes, now: float) -> Known | None:
        """What is known and still holds."""
        found = self.kept.get(key)
        if found is not None and now >= found.until:
            self.forget(key)
            return None
        return found

    def keep(self, key: bytes, known: Known) -> None:
        """Remember, within the bounds."""
        self.forget(key)
        self.kept[key] = known
        self.size += known.size
        while len(self.kept) > MOST_KEPT or self.size > KEPT_BYTES:
            self.forget(next(iter(self.kept)))

    def forget(self, key: bytes) -> None:
        """Of no use any more."""
        if (gone := self.kept.pop(key, None)) is not None:
            self.size -= gone.size


def build(spec: IntrospectionProvider, context: Context, about: str) -> Verify:
    """`about` is the provider's name in the log. Raises ValueError."""
    return Introspection(spec, context, about).verify


class Introspection:
    """One provider."""

    __slots__ = (
        "_ask", "_audiences", "_cache", "_clock", "_complaint", "_headers", "_monotonic", "_place", "_scope", "_scopes",
        "_server", "_target", "_timeout",
    )  # fmt: skip

    def __init__(self, spec: IntrospectionProvider, context: Context, about: str) -> None:
        credentials = context.credentials[spec.credentials]
        client = credentials.credentials[0] if credentials.credentials else None
        self._place, self._target = place(spec.uri, spec.ca)
        # RFC 6749 section 2.3.1: both are form-encoded before they are put together
        pair = f"{quote_plus(client.id)}:{quote_plus(client.plain)}" if client is not None else ""
        self._headers = (
            (b"Authorization", b"Basic " + b64encode(pair.encode())),
            (b"Content-Type", b"application/x-www-form-urlencoded"),
            (b"Accept", b"application/json"),
        )
        self._ask: Ask | None = context.ask if client is not None else None
        self._clock = context.clock
        self._monotonic = context.wheel.clock
        self._cache = spec.cache
        self._timeout = spec.timeout
        self._audiences = frozenset(spec.audiences)
        self._scopes = frozenset(spec.required_scopes)
        self._scope = " ".join(spec.required_scopes)
        self._complaint = Complaint(about)
        vouched = sha256(spec.ca.encode()).hexdigest()[:16]  # what another authority vouched for is another server
        name = f"introspection {spec.uri} {spec.credentials} {vouched}"
        self._server: Server = context.memory.setdefault(name, Server())

    def verify(self, call: Call, token: bytes) -> Verified | Refusal | Pending:
        """What is known, or a question."""
        key = sha256(token).digest()
        server = self._server
        known = server.find(key, self._clock())
        if known is not None:
            return self.judge(known)
        if self._ask is None:
            return _UNKNOWN
        pending = Pending(lambda gone: self._leave(key, gone))
        if (others := server.asked.get(key)) is not None:
            others.append((pending, self))
            return pending
        if server.running >= AT_ONCE:
            if len(server.waiting) >= WAITING:
                self._complaint.tell(f"more than {WAITING} questions wait")
                return _UNKNOWN
            server.asked[key] = [(pending, self)]
            server.waiting.append((self._monotonic(), key, token))
        else:
            server.asked[key] = [(pending, self)]
            self._put(key, token)
        return pending

    def _leave(self, key: bytes, gone: Pending) -> None:
        """One of those who wait has gone. The question goes on: its answer serves the next."""
        asked = self._server.asked
        if (others := asked.get(key)) is not None:
            asked[key] = [(pending, provider) for pending, provider in others if pending is not gone]

    def _put(self, key: bytes, token: bytes) -> None:
        assert self._ask is not None
        self._server.running += 1
        body = b"token=" + quote_plus(token).encode() + b"&token_type_hint=access_token"
        question = Question(self._place, self._target, b"POST", self._headers, body, self._timeout, MOST_BYTES)
        self._ask(question, lambda answer: self._on_answer(key, answer))

    def _on_answer(self, key: bytes, answer: Answer) -> None:
        server, now = self._server, self._clock()
        server.running -= 1
        try:
            known = self._read(answer, now)
        except Unclear as fault:
            self._complaint.tell(str(fault))
            known = None
        if known is not None and known.until > now:
            server.keep(key, known)
        for pending, provider in server.asked.pop(key):
            pending.answer(provider.judge(known) if known is not None else _UNKNOWN)
        self._next()

    def _next(self) -> None:
        """Whose turn it is; who has waited for too long is told so."""
        server, late = self._server, self._monotonic() - self._timeout
        while server.waiting and (server.waiting[0][0] < late or server.running < AT_ONCE):
            since, key, token = server.waiting.popleft()
            if server.asked[key] and since >= late:
                self._put(key, token)
                continue
            for pending, _ in server.asked.pop(key):  # nobody, where all have gone
                pending.answer(_UNKNOWN)

    def _read(self, answer: Answer, now: float) -> Known:
        """Raises Unclear for what is no answer of RFC 7662 section 2.2."""
        claims = parse(answer)
        size = len(answer.body)
        if claims["active"] is not True:
            return Known(None, now + min(self._cache, REFUSED_SECONDS), 200)
        end = _time(claims, "exp")
        if (end is not None and end <= now) or (_time(claims, "nbf") or 0.0) > now + SKEW:
            return Known(None, now + min(self._cache, REFUSED_SECONDS), 200)
        return Known(claims, min(now + self._cache, end if end is not None else now + self._cache), size)

    def judge(self, known: Known) -> Verdict:
        """What follows for this provider."""
        claims = known.claims
        if claims is None:
            return _INACTIVE
        if self._audiences:
            said = claims.get("aud")
            named = {said} if isinstance(said, str) else {one for one in said or () if isinstance(one, str)}
            if not named & self._audiences:
                return _AUDIENCE
        scope = claims.get("scope")
        if self._scopes and not self._scopes <= set(scope.split(" ") if isinstance(scope, str) else ()):
            return Refusal(SCOPE, "the token lacks a scope that is needed here", self._scope)
        return Verified(claims, next((who for who in map(claims.get, _WHO) if isinstance(who, str)), ""))


_WHO: Final = ("sub", "username", "client_id")


class Unclear(Exception):
    """It was not answered, or not in the words of RFC 7662; says why."""


def parse(answer: Answer) -> dict[str, Any]:
    """The members of an answer. Raises Unclear."""
    if answer.error:
        raise Unclear(answer.error)
    if answer.status != 200:
        raise Unclear(f"the server answered with status {answer.status}")
    try:
        claims = strict.read(answer.body)
    except strict.Unclear as fault:
        raise Unclear(f"the server's answer cannot be used: {fault}") from None
    if not isinstance(claims.get("active"), bool):
        raise Unclear("the server's answer does not say whether the token is active")
    if not isinstance(claims.get("aud", ""), (str, list)):
        raise Unclear("the server's answer has an aud that is no text or list")
    return claims


def _time(claims: dict[str, Any], name: str) -> float | None:
    """Seconds since 1970. Raises Unclear."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Unclear(f"the server's answer has an {name} that is no number")
    return float(value) if abs(value) < MOST_TIME else MOST_TIME
