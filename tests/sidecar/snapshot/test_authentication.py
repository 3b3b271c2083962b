"""How callers prove themselves, as sent: the tags of providers, and that no secret is printed."""

from __future__ import annotations

import msgspec
import pytest

from sidewinder_sidecar.snapshot.authentication import (
    ApiKeyProvider,
    AuthenticationSpec,
    BasicProvider,
    Credential,
    CredentialsSpec,
    ExternalProvider,
    IntrospectionProvider,
    JwtProvider,
    Provider,
    Secret,
)

PROVIDERS: dict[str, Provider] = {
    "JWT": JwtProvider(name="a", keys="k", issuer="i"),
    "APIKey": ApiKeyProvider(name="a", credentials="c"),
    "Basic": BasicProvider(name="a", credentials="c"),
    "OAuth2Introspection": IntrospectionProvider(name="a", uri="https://a", credentials="c"),
    "External": ExternalProvider(name="a", uri="http://a"),
}


@pytest.mark.parametrize(("tag", "provider"), PROVIDERS.items(), ids=PROVIDERS)
def test_a_provider_is_sent_under_the_name_that_users_write(tag: str, provider: Provider) -> None:
    spec = AuthenticationSpec(policy="shop/p", providers=(provider,))
    raw = msgspec.json.encode(spec)
    assert msgspec.json.decode(raw)["providers"][0]["type"] == tag
    assert msgspec.json.decode(raw, type=AuthenticationSpec) == spec


def test_no_secret_is_printed() -> None:
    held = Credential(id="me", hash="sha256:hush", plain="hush")
    spec = CredentialsSpec(name="c", credentials=(held,))
    for shown in (repr(held), str(held), f"{held}", repr(spec), f"{[spec]}", repr(Secret("hush"))):
        assert "hush" not in shown
    assert msgspec.json.decode(msgspec.json.encode(spec), type=CredentialsSpec) == spec
