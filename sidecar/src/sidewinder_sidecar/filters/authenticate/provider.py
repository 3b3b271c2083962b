"""One provider of a section as the frame has it: where its credential stands, who verifies it, what it asks for.

Built by the frame; the kinds of providers are modules beside this one, imported when a policy first has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.filters.authenticate.forward import Tell, teller
from sidewinder_sidecar.filters.authenticate.sources import Find, Strip, finder, stripper
from sidewinder_sidecar.filters.authenticate.verdict import Verify
from sidewinder_sidecar.snapshot.authentication import (
    ApiKeyProvider,
    BasicProvider,
    ExternalProvider,
    IntrospectionProvider,
    JwtProvider,
    Source,
)
from sidewinder_sidecar.snapshot.authentication import Provider as Spec

if TYPE_CHECKING:
    from sidewinder_sidecar.filters.context import Context

BASIC: Final = (Source(prefix="Basic "),)
REALM: Final = 'realm="sidewinder"'  # a policy's name is nobody's business


class Provider:
    """`find` is None for who looks at the whole request (External): it has a word when nobody else vouches."""

    __slots__ = ("challenge", "decision", "find", "headers", "scheme", "strip", "tell", "verify")

    def __init__(self, policy: str, spec: Spec, verify: Verify) -> None:
        self.verify = verify
        self.decision = f"{policy}/{spec.name}"
        self.find: Find | None = None
        self.strip: Strip | None = None
        self.tell: Tell | None = None
        self.headers: tuple[bytes, ...] = ()  # External: those that hold credentials
        self.scheme = ""  # "Bearer" where RFC 6750 says how refusals are told
        self.challenge = ""  # what WWW-Authenticate asks for

    def __repr__(self) -> str:
        return f"<Provider {self.decision}>"


def build(policy: str, spec: Spec, context: Context) -> Provider:
    """Raises ValueError for what cannot be done."""
    provider = Provider(policy, spec, _verify(spec, context, f"{policy}/{spec.name}"))
    if isinstance(spec, ExternalProvider):
        provider.headers = tuple(name.lower().encode() for name in spec.send_headers)
        return provider
    sources = BASIC if isinstance(spec, BasicProvider) else spec.sources
    provider.find = finder(sources)
    provider.strip = stripper(sources) if spec.strip else None
    provider.tell = teller(spec.forward)
    if isinstance(spec, BasicProvider):
        provider.challenge = f'Basic realm="{quoted(spec.realm)}", charset="UTF-8"'
    elif isinstance(spec, ApiKeyProvider):
        provider.challenge = f'ApiKey {REALM}, name="{quoted(sources[0].name)}"'
    else:
        provider.scheme = "Bearer"
        provider.challenge = f"Bearer {REALM}"
    return provider


def forwarded(spec: Spec) -> tuple[str, ...]:
    """The headers that only this provider may write."""
    if isinstance(spec, ExternalProvider):
        return spec.allow_headers
    return tuple(rule.header for rule in spec.forward)


def _verify(spec: Spec, context: Context, about: str) -> Verify:
    if isinstance(spec, JwtProvider):
        from sidewinder_sidecar.filters.authenticate import jwt

        return jwt.build(spec, context)
    if isinstance(spec, ApiKeyProvider):
        from sidewinder_sidecar.filters.authenticate import api_key

        return api_key.build(spec, context)
    if isinstance(spec, BasicProvider):
        from sidewinder_sidecar.filters.authenticate import basic

        return basic.build(spec, context)
    if isinstance(spec, IntrospectionProvider):
        from sidewinder_sidecar.filters.authenticate import introspection

        return introspection.build(spec, context, about)
    from sidewinder_sidecar.filters.authenticate import external

    return external.build(spec, context, about)


def quoted(text: str) -> str:
    """Inside of quotes of a header field: visible ASCII and blanks."""
    visible = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return visible.replace("\\", "\\\\").replace('"', '\\"')
