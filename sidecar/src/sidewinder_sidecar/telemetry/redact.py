"""What is never told: values of query parameters, and of headers that a policy names. Called by access_log and spans.

Some parameters carry tokens by their nature (`ALWAYS`): where queries are shown at all, their values are hidden without
any policy. A `redact` section adds to them; its filter (filters/redact) leaves a `Redaction` with the call. Of headers
logs and spans show the user agent and the request's id alone, so Authorization, Cookie, X-Api-Key and their like are
nowhere; bodies are never told either.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

HIDDEN: Final = b"[redacted]"
ATTRIBUTE: Final = "redact"  # where a call has its Redaction

# RFC 6750's own, and what services call theirs.
ALWAYS: Final = frozenset({
    b"access_token", b"api_key", b"api-key", b"apikey", b"client_secret", b"code", b"id_token", b"key", b"password",
    b"refresh_token", b"secret", b"token",
})  # fmt: skip


class Redaction:
    """What one policy hides, in lower case. `query` includes `ALWAYS`."""

    __slots__ = ("headers", "query")

    def __init__(self, headers: frozenset[bytes], query: frozenset[bytes]) -> None:
        self.headers = headers
        self.query = query | ALWAYS

    def __repr__(self) -> str:
        return f"<Redaction {len(self.headers)} headers, {len(self.query)} parameters>"


def of(attributes: dict[str, object] | None) -> Redaction | None:
    """What a call's policy hides."""
    found = attributes.get(ATTRIBUTE) if attributes is not None else None
    return found if isinstance(found, Redaction) else None


def query(raw: bytes, redaction: Redaction | None) -> bytes:
    """The query with its secrets hidden. A name is the same however it is written: `Token`, `%74oken`, `token[]`."""
    hidden = redaction.query if redaction is not None else ALWAYS
    parts = []
    for part in raw.split(b"&"):
        name, equals, _ = part.partition(b"=")
        parts.append(name + b"=" + HIDDEN if equals and _plain(name) in hidden else part)
    return b"&".join(parts)


def target(raw: bytes, redaction: Redaction | None) -> bytes:
    """A path with its query, the same."""
    path, asked, found = raw.partition(b"?")
    return path + asked + query(found, redaction) if found else raw


def header(name: bytes, value: bytes, redaction: Redaction | None) -> bytes:
    """A header's value, or that it is hidden."""
    return HIDDEN if redaction is not None and value and name in redaction.headers else value


def _plain(name: bytes) -> bytes:
    """How the application will read it. What comes before a `;` may be a parameter of its own: the last one counts."""
    plain = unquote_to_bytes(name.replace(b"+", b" ")).strip().lower()
    return plain.rpartition(b";")[2].partition(b"[")[0]
