"""How a caller learns that it is not let in: status and WWW-Authenticate of RFC 6750 section 3 and RFC 9110 section 11.

Used by the frame. Nothing here says which policy or provider refused; that is in `call.decision`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sidewinder_sidecar.errors import refusal
from sidewinder_sidecar.filters.authenticate.provider import REALM, Provider, quoted
from sidewinder_sidecar.filters.authenticate.verdict import INVALID, MALFORMED, SCOPE, UNAVAILABLE, Refusal
from sidewinder_sidecar.messages import Reply

AUTHENTICATE: Final = b"www-authenticate"
MISSING: Final = "no credentials were sent"

# Which of several refusals of one credential is told: it is good but not enough; nobody knows; it is no good. Malformed
# comes last: to a JWT provider every token is, that somebody else can read.
RANK: Final = {SCOPE: 3, UNAVAILABLE: 2, INVALID: 1, MALFORMED: 0}


def better(old: Refusal | None, new: Refusal) -> bool:
    """Does `new` say more to the caller? A whole answer of somebody else's says most."""
    if old is None:
        return True
    return old.reply is None and (new.reply is not None or RANK[new.error] > RANK[old.error])


def missing(providers: Iterable[Provider], detail: str = MISSING) -> Reply:
    """Nobody sent anything: what could be sent. RFC 6750 section 3.1: no error code then."""
    reply = refusal("unauthenticated", detail)
    challenges = dict.fromkeys(provider.challenge for provider in providers if provider.challenge)
    reply.fields = tuple((AUTHENTICATE, challenge.encode()) for challenge in challenges)
    return reply


def refused(verdict: Refusal, providers: Iterable[Provider], bearer: bool) -> Reply:
    """A credential was sent and is not accepted. `bearer`: it was a token of RFC 6750."""
    if verdict.reply is not None:
        return verdict.reply
    if verdict.error == UNAVAILABLE:
        reply = refusal("authentication_unavailable", verdict.description)
        reply.fields = ((b"retry-after", b"1"),)
        return reply
    if verdict.error == SCOPE:
        reply = refusal("insufficient_scope", verdict.description)
        reply.fields = ((AUTHENTICATE, _bearer(verdict).encode()),)
        return reply
    reply = missing(providers, verdict.description)
    if bearer:
        rest = tuple(row for row in reply.fields if not row[1].startswith(b"Bearer "))
        reply.fields = ((AUTHENTICATE, _bearer(verdict).encode()), *rest)
    if verdict.error == MALFORMED:
        reply.status = 400
    return reply


def _bearer(verdict: Refusal) -> str:
    told = f'Bearer {REALM}, error="{verdict.error}", error_description="{_said(verdict.description)}"'
    return f'{told}, scope="{_said(verdict.scope)}"' if verdict.scope else told


def _said(text: str) -> str:
    """RFC 6750 section 3: no quotes and no backslashes, not even escaped."""
    return quoted(text.replace("\\", "?").replace('"', "'"))
