"""Who calls: the frame around the providers of one section. Built by `plan.guards`, run before authorization.

A provider says of one credential whether it is good (`verdict`). The frame finds credentials, asks who reads them, and
says what follows: every credential that was sent must be accepted by one of its readers, whether one is required or not
(Any), or every provider must accept (All). An External provider reads the whole request: with Any it is asked where
nobody else accepts. Then come `call.attributes` (claims, subject, plan, provider), the headers to the application, and
the credential's way out of the request.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from sidewinder_sidecar.errors import refusal
from sidewinder_sidecar.filters.authenticate import provider as providing
from sidewinder_sidecar.filters.authenticate.forward import remover
from sidewinder_sidecar.filters.authenticate.provider import Provider
from sidewinder_sidecar.filters.authenticate.refused import better, missing, refused
from sidewinder_sidecar.filters.authenticate.verdict import (
    INVALID,
    LONGEST,
    MALFORMED,
    UNAVAILABLE,
    Pending,
    Refusal,
    Verdict,
    Verified,
)
from sidewinder_sidecar.messages import WAIT, Call, Reply, Wait
from sidewinder_sidecar.snapshot.authentication import AuthenticationSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidewinder_sidecar.filters.context import Context

log = logging.getLogger("sidewinder.authentication")

STRIP: Final = "strip"  # in call.attributes, from the first section to the last
NOBODY: Final = "-"  # stands for the provider in a decision that none of them made

_TWO: Final = Refusal(MALFORMED, "more than one credential of the same kind was sent")
_EMPTY: Final = Refusal(MALFORMED, "an empty credential was sent")
_LONG: Final = Refusal(MALFORMED, f"the credential is longer than {LONGEST} bytes")
_ALL: Final = Refusal(INVALID, "one of the credentials that are required was not sent")
_CONTROL: Final = Refusal(INVALID, "what is said of the caller cannot be sent in a header")


def build(spec: AuthenticationSpec, context: Context, last: bool = True) -> Callable[[Call], Reply | Wait | None]:
    """The filter of one section. After the `last` of several, credentials are taken out: each may read the same one.

    Raises ValueError for what cannot be done.
    """
    return Frame(spec, context, last).apply


class Reader:
    """A provider and the credential that it found."""

    __slots__ = ("credential", "provider")

    def __init__(self, provider: Provider, credential: bytes) -> None:
        self.provider = provider
        self.credential = credential


class Frame:
    """One section."""

    __slots__ = ("all", "count", "externals", "last", "optional", "policy", "providers", "remove", "simple")

    def __init__(self, spec: AuthenticationSpec, context: Context, last: bool = True) -> None:
        if not spec.providers:
            raise ValueError("authentication needs at least one provider")
        self.policy = spec.policy
        self.last = last
        self.optional = spec.credentials == "Optional"
        self.all = spec.require == "All"
        self.count = context.count
        self.providers = tuple(providing.build(spec.policy, each, context) for each in spec.providers)
        self.simple = len(self.providers) == 1 or not self.all
        self.externals = tuple(each for each in self.providers if each.find is None)
        self.remove = remover(name for each in spec.providers for name in providing.forwarded(each))

    def apply(self, call: Call) -> Reply | Wait | None:
        """The filter."""
        self.remove(call.request.fields)
        found: list[Reader] = []
        for provider in self.providers:
            if provider.find is None or not (credentials := provider.find(call.request)):
                continue
            if len(credentials) > 1:
                return self.deny(call, _TWO, provider)
            if not credentials[0] or len(credentials[0]) > LONGEST:
                return self.deny(call, _LONG if credentials[0] else _EMPTY, provider)
            found.append(Reader(provider, credentials[0]))
        if self.externals:
            return self._beside(call, found)
        if len(found) == 1 and self.simple:
            return self._single(call, found)
        if found:
            return self._ask(call, found)
        if not self.optional:
            return self._missing(call)
        self._pass(call)
        return None

    def _beside(self, call: Call, found: list[Reader]) -> Reply | Wait | None:
        """Who looks at the whole request has a word too."""
        index = call.request.fields.index
        if self.optional and not found and not any(name in index for each in self.externals for name in each.headers):
            self._pass(call)
            return None
        return self._ask(call, found)

    def _single(self, call: Call, found: list[Reader]) -> Reply | Wait | None:
        """Nearly every request: nothing to combine."""
        provider = found[0].provider
        verdict = provider.verify(call, found[0].credential)
        if isinstance(verdict, Verified):
            return self.admit(call, [(provider, verdict)])
        if isinstance(verdict, Refusal):
            return self.deny(call, verdict, provider)
        return Inquiry(self, call, [found]).wait(verdict)

    def _ask(self, call: Call, found: list[Reader]) -> Reply | Wait | None:
        questions = self._every(found) if self.all else self._any(found)
        return self.deny(call, _ALL, None) if questions is None else Inquiry(self, call, questions).go_on()

    def _pass(self, call: Call) -> None:
        """Nobody in particular."""
        if self.last and call.attributes is not None:
            _strip(call, call.attributes)

    def _any(self, found: list[Reader]) -> list[list[Reader]]:
        """A question per credential: is there one who accepts it?"""
        externals = [Reader(each, b"") for each in self.externals]
        if len(found) <= 1:
            return [[*found, *externals]]
        by_credential: dict[bytes, list[Reader]] = {}
        for reader in found:
            by_credential.setdefault(reader.credential, []).append(reader)
        return [[*readers, *externals] for readers in by_credential.values()]

    def _every(self, found: list[Reader]) -> list[list[Reader]] | None:
        """A question per provider; None where one has nothing to look at."""
        if len(found) + len(self.externals) < len(self.providers):
            return None
        return [*([reader] for reader in found), *([Reader(each, b"")] for each in self.externals)]

    def _missing(self, call: Call) -> Reply:
        call.decision = f"{self.policy}/{NOBODY}"
        self.count("authentication", "Deny", self.policy)
        return missing(self.providers)

    def deny(self, call: Call, verdict: Refusal, provider: Provider | None) -> Reply:
        """The answer to a credential that is not accepted."""
        call.decision = provider.decision if provider is not None else f"{self.policy}/{NOBODY}"
        self.count("authentication", "Error" if verdict.error == UNAVAILABLE else "Deny", self.policy)
        return refused(verdict, self.providers, provider is not None and provider.scheme == "Bearer")

    def admit(self, call: Call, accepted: list[tuple[Provider, Verified]]) -> Reply | None:
        """What follows from what was verified. With several, the first that says something counts."""
        known: dict[str, Any] = call.attributes if call.attributes is not None else {}
        claims: dict[str, Any] = known.get("claims") or {}
        fields = call.request.fields
        for provider, verified in accepted:
            if provider.tell is not None and not provider.tell(fields, verified.claims):
                return self.deny(call, _CONTROL, provider)
            for name, value in verified.headers:
                fields.add(name, name, value)
            claims = {**verified.claims, **claims} if claims else verified.claims
            known["subject"] = known.get("subject") or verified.subject
            known["plan"] = known.get("plan") or verified.plan
        strips = [provider.strip for provider, _ in accepted if provider.strip is not None]
        if strips:
            known[STRIP] = [*known.get(STRIP, ()), *strips]
        known["claims"] = claims
        call.decision = known["provider"] = accepted[0][0].decision
        call.attributes = known
        if self.last:
            _strip(call, known)
        self.count("authentication", "Allow", self.policy)
        return None


def _strip(call: Call, known: dict[str, Any]) -> None:
    """All sections are met: what they have read goes no further."""
    for strip in known.pop(STRIP, ()):
        strip(call.request)


class Inquiry:
    """The questions of one request, one after the other; each ends with the first reader that accepts."""

    __slots__ = ("accepted", "call", "frame", "number", "provider", "questions", "reader", "refusal")

    def __init__(self, frame: Frame, call: Call, questions: list[list[Reader]]) -> None:
        self.frame = frame
        self.call = call
        self.questions = questions
        self.number = 0  # of the question
        self.reader = 0  # of that
        self.accepted: list[tuple[Provider, Verified]] = []
        self.refusal: Refusal | None = None  # the one that says most
        self.provider: Provider | None = None  # whose it is

    def go_on(self) -> Reply | Wait | None:
        """As far as it goes without waiting."""
        while self.number < len(self.questions):
            readers = self.questions[self.number]
            if self.reader == len(readers):
                assert self.refusal is not None
                return self.frame.deny(self.call, self.refusal, self.provider)
            reader = readers[self.reader]
            verdict = reader.provider.verify(self.call, reader.credential)
            if isinstance(verdict, Pending):
                return self.wait(verdict)
            self._take(reader.provider, verdict)
        return self.frame.admit(self.call, self.accepted)

    def wait(self, pending: Pending) -> Wait:
        """The provider whose turn it is has to ask."""
        pending.then = self._on_answer
        self.call.waiting_on = pending
        return WAIT

    def _take(self, provider: Provider, verdict: Verdict) -> None:
        if isinstance(verdict, Verified):
            self.accepted.append((provider, verdict))
            self.number += 1
            self.reader = 0
            self.refusal = None
            return
        if better(self.refusal, verdict):
            self.refusal, self.provider = verdict, provider
        self.reader += 1

    def _on_answer(self, verdict: Verdict) -> None:
        """The provider that had to ask knows."""
        call = self.call
        call.waiting_on = None
        try:
            self._take(self.questions[self.number][self.reader].provider, verdict)
            reply = self.go_on()
        except Exception:  # whoever told us serves others too
            log.exception("a bug while authenticating %r", call)
            reply = refusal("bug")
        if reply is not WAIT:
            call.resume(reply)  # type: ignore[arg-type]  # the only Wait is WAIT
