"""What a provider says of a credential: accepted, refused, or not known yet. The words between frame and providers.

A provider is a `Verify`: called by the frame (`authenticate/__init__`) with the credential as it was found, prefix
taken off. Where to look, forwarded headers, stripping, combining and the answer to the caller are the frame's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from sidewinder_sidecar.messages import Call, Reply

# Codes of RFC 6750 section 3.1, and one of ours: nobody could be asked, so nobody knows.
INVALID: Final = "invalid_token"
MALFORMED: Final = "invalid_request"
SCOPE: Final = "insufficient_scope"
UNAVAILABLE: Final = "unavailable"


class Verified:
    """Accepted. `claims` are what authorization and forwarded headers may read; never changed once told.

    `headers` are rows for the application (External): what a caller sent by these names is gone already.
    """

    __slots__ = ("claims", "headers", "plan", "subject")

    def __init__(
        self,
        claims: dict[str, Any],
        subject: str = "",
        plan: str = "",
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.claims = claims
        self.subject = subject
        self.plan = plan  # what limits know the caller's contract by
        self.headers = headers

    def __repr__(self) -> str:
        """Without the claims: they may be nobody's business."""
        return f"<Verified {len(self.claims)} claims>"


class Refusal:
    """Not accepted. `description` is told to the caller and to the log: what is wrong with the credential, without any
    of its content, and without the policy's name. `scope` are the scopes that would be needed (SCOPE only).

    `reply` is the whole answer where the provider has one (External); the frame sends it as it is.
    """

    __slots__ = ("description", "error", "reply", "scope")

    def __init__(self, error: str, description: str, scope: str = "", reply: Reply | None = None) -> None:
        self.error = error
        self.description = description
        self.scope = scope
        self.reply = reply

    def __repr__(self) -> str:
        return f"<Refusal {self.error} {self.description}>"


Verdict: TypeAlias = Verified | Refusal


class Pending:
    """A verdict that is not there yet. Whoever asks keeps it and calls `answer` once, later, never from inside verify.

    The frame sets `then` and makes the request wait. `cancel` is called when nobody waits any more (the deadline or the
    caller won): `abandon` is told, and an `answer` after that means nothing.
    """

    __slots__ = ("abandon", "then")

    def __init__(self, abandon: Callable[[Pending], None] | None = None) -> None:
        self.abandon = abandon
        self.then: Callable[[Verdict], None] | None = None

    def answer(self, verdict: Verdict) -> None:
        """Here it is."""
        then, self.then = self.then, None
        self.abandon = None
        if then is not None:
            then(verdict)

    def cancel(self) -> None:
        """Nobody waits any more."""
        abandon, self.abandon = self.abandon, None
        self.then = None
        if abandon is not None:
            abandon(self)


# The credential is the bytes as they were sent (of a query: decoded), never empty, at most LONGEST of them.
Verify: TypeAlias = Callable[[Call, bytes], "Verified | Refusal | Pending"]

LONGEST: Final = 8192  # bytes of a credential: what a request's header fields may be, all in all, is not much more
