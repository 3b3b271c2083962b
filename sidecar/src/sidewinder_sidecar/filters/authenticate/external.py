"""A user's own HTTP service says whether a request may pass: 2xx lets it, anything else is its answer. See `provider`.

It is asked with GET, without the body, and learns of the request by the headers that forward-authentication services
know (Traefik, Authelia, oauth2-proxy): X-Forwarded-Method, -Proto, -Host, -Uri, -For; the caller's SPIFFE ID stands in
X-Forwarded-Client-Cert. What it answers below 500 goes to the caller, a bounded body with it; from 500 on, and where it
does not answer in time, `failOpen` decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.filters.authenticate.complaint import Complaint
from sidewinder_sidecar.filters.authenticate.verdict import INVALID, UNAVAILABLE, Pending, Refusal, Verified, Verify
from sidewinder_sidecar.filters.headers import checked
from sidewinder_sidecar.messages import Call, Reply
from sidewinder_sidecar.snapshot.authentication import ExternalProvider
from sidewinder_sidecar.upstream.ask import Answer, Asking, Question, place

if TYPE_CHECKING:
    from sidewinder_sidecar.filters.context import Context

MOST_BYTES: Final = 16384  # of a refusal's body: a page that says why, or where to log in
AT_ONCE: Final = 256  # questions to one service; more would only wait there

# Of a refusal, what the caller may learn beside status and body.
RELAYED: Final = (
    b"www-authenticate", b"location", b"set-cookie", b"content-type", b"content-encoding", b"cache-control",
    b"retry-after",
)  # fmt: skip
ABOUT: Final = (
    b"x-forwarded-method", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-uri", b"x-forwarded-for",
    b"x-forwarded-client-cert",
)  # fmt: skip

_UNKNOWN: Final = Refusal(UNAVAILABLE, "whether the request may pass cannot be found out just now")
_UNSAID: Final = Verified({})


def build(spec: ExternalProvider, context: Context, about: str) -> Verify:
    """`about` is the provider's name in the log. Raises ValueError."""
    return External(spec, context, about).verify


class External:
    """One provider."""

    __slots__ = (
        "_allow", "_ask", "_complaint", "_open", "_place", "_running", "_send", "_target", "_timeout",
    )  # fmt: skip

    def __init__(self, spec: ExternalProvider, context: Context, about: str) -> None:
        self._place, self._target = place(spec.uri, spec.ca)
        self._ask = context.ask
        self._timeout = spec.timeout
        self._open = spec.fail_open
        self._send = tuple(checked(name)[0] for name in spec.send_headers if checked(name)[0] not in ABOUT)
        self._allow = tuple(checked(name)[0] for name in spec.allow_headers)
        self._complaint = Complaint(about)
        self._running = 0

    def verify(self, call: Call, credential: bytes) -> Verified | Refusal | Pending:
        """Ask, every time: it may decide by anything."""
        if self._ask is None:
            return self._unanswered("nobody can be asked here")
        if self._running >= AT_ONCE:
            return self._unanswered(f"{AT_ONCE} questions run already")
        asked = _Asked(self)
        question = Question(
            self._place, self._target, b"GET", self._told(call), timeout=self._timeout, most=MOST_BYTES, cut=True
        )
        self._running += 1
        asked.asking = self._ask(question, asked.on_answer)
        return asked.pending

    def _told(self, call: Call) -> tuple[tuple[bytes, bytes], ...]:
        request, peer = call.request, call.peer
        fields = request.fields
        rows = [(name, value) for name in self._send for value in fields.all(name)]
        rows += [
            (b"x-forwarded-method", request.method),
            (b"x-forwarded-proto", fields.get(b"x-forwarded-proto") or (b"https" if peer.secure else b"http")),
            (b"x-forwarded-host", request.authority),
            (b"x-forwarded-uri", request.target),
            (b"x-forwarded-for", fields.get(b"x-forwarded-for") or peer.encoded),
        ]
        if peer.identity:
            rows.append((b"x-forwarded-client-cert", b"URI=" + peer.identity.encode()))
        return tuple(rows)

    def ended(self) -> None:
        """A question runs no more."""
        self._running -= 1

    def judge(self, answer: Answer) -> Verified | Refusal:
        """What follows from the answer."""
        if answer.error:
            return self._unanswered(answer.error)
        if answer.status >= 500:
            return self._unanswered(f"the service answered with status {answer.status}")
        fields = answer.fields
        if 200 <= answer.status < 300:
            return Verified({}, headers=tuple((name, value) for name in self._allow for value in fields.all(name)))
        rows = tuple((name, value) for name in RELAYED for value in fields.all(name))
        error = "unauthenticated" if answer.status == 401 else "denied"
        reply = Reply(answer.status, error, "the authorization service refuses", rows, answer.body)
        return Refusal(INVALID, reply.detail, reply=reply)

    def _unanswered(self, why: str) -> Verified | Refusal:
        self._complaint.tell(f"{why}; {'let pass' if self._open else 'refused'}")
        return _UNSAID if self._open else _UNKNOWN


class _Asked:
    """One request's question."""

    __slots__ = ("asking", "external", "pending")

    def __init__(self, external: External) -> None:
        self.external = external
        self.asking: Asking | None = None
        self.pending = Pending(self._on_gone)

    def _on_gone(self, pending: Pending) -> None:
        """The caller has gone, or its time is over."""
        if self.asking is not None:
            self.asking.cancel()
            self.external.ended()

    def on_answer(self, answer: Answer) -> None:
        """Here it is."""
        self.external.ended()
        self.pending.answer(self.external.judge(answer))
