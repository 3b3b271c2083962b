"""What the frame knows of each kind of provider: what it asks for, and which headers are its alone."""

from __future__ import annotations

from typing import Any

import pytest

from sidewinder_sidecar.filters.authenticate.provider import build, forwarded
from sidewinder_sidecar.filters.context import Context
from sidewinder_sidecar.means import Means
from sidewinder_sidecar.snapshot.authentication import (
    ApiKeyProvider,
    BasicProvider,
    CredentialsSpec,
    ExternalProvider,
    Forward,
    IntrospectionProvider,
    JwtProvider,
    KeysSpec,
    Source,
)
from sidewinder_sidecar.wheel import Wheel

EMPTY = CredentialsSpec(name="c")
FORWARD = (Forward("sub", "x-user"),)

KINDS = {
    "JWT": (JwtProvider(name="p", keys="k", issuer="i", forward=FORWARD), 'Bearer realm="sidewinder"', ("x-user",)),
    "APIKey": (
        ApiKeyProvider(name="p", credentials="c", sources=(Source(type="Cookie", name="Key"),)),
        'ApiKey realm="sidewinder", name="Key"',
        (),
    ),
    "Basic": (
        BasicProvider(name="p", credentials="c", realm='a "b"', forward=FORWARD),
        'Basic realm="a \\"b\\"", charset="UTF-8"',
        ("x-user",),
    ),
    "OAuth2Introspection": (
        IntrospectionProvider(name="p", uri="https://a", credentials="c"),
        'Bearer realm="sidewinder"',
        (),
    ),
    "External": (ExternalProvider(name="p", uri="http://a", allow_headers=("x-a", "x-b")), "", ("x-a", "x-b")),
}


@pytest.mark.parametrize(("spec", "challenge", "headers"), KINDS.values(), ids=KINDS)
def test_each_kind(spec: Any, challenge: str, headers: tuple[str, ...]) -> None:
    wheel = Wheel(lambda: 0.0, lambda seconds, call: None)
    context = Context(Means(), wheel, {"k": KeysSpec(name="k")}, {"c": EMPTY}, {})
    provider = build("shop/public", spec, context)
    assert provider.challenge == challenge
    assert provider.decision == "shop/public/p"
    assert (provider.find is None) == isinstance(spec, ExternalProvider)
    assert (provider.strip is not None) == isinstance(spec, BasicProvider)
    assert (provider.tell is not None) == bool(getattr(spec, "forward", ()))
    assert forwarded(spec) == headers
