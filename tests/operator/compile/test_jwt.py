"""A JWT provider from what is written to what is sent."""

from __future__ import annotations

import msgspec

from sidewinder_operator.compile.jwt import build, forward, sources, spec
from sidewinder_operator.mesh.jwt import MeshForward, MeshSource
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.jwt import CredentialSource, ForwardClaim, Jwt
from sidewinder_sidecar.snapshot.authentication import Forward, JwtProvider, RequiredClaim, Source
from tests.support.tokens import jwk, jwks

INLINE = {"type": "Inline", "inline": jwks(jwk())}


def test_everything_is_sent():
    written = msgspec.convert(
        {
            "issuer": "https://idp.example", "audiences": ["a", "b"], "jwks": INLINE, "requiredScopes": ["r"],
            "requiredClaims": [{"claim": "c", "values": ["1"]}], "clockSkew": "1500ms", "stripToken": True,
            "sources": [{"type": "Cookie", "name": "Token"}], "forwardClaims": [{"claim": "sub", "header": "X-User"}],
        },
        Jwt,
    )  # fmt: skip
    meant, faults = build("idp", written, "shop", Cluster())
    assert faults == ()
    assert spec(meant) == JwtProvider(
        name="idp", keys=meant.keys.id, issuer="https://idp.example", audiences=("a", "b"), required_scopes=("r",),
        required_claims=(RequiredClaim(claim="c", values=("1",)),), skew=1.5,
        sources=(Source(type="Cookie", name="Token"),), forward=(Forward(claim="sub", header="x-user"),), strip=True,
    )  # fmt: skip


def test_what_is_not_written_is_what_the_sidecar_takes_for_granted():
    meant, _ = build("idp", msgspec.convert({"issuer": "us", "jwks": INLINE}, Jwt), "shop", Cluster())
    assert spec(meant) == JwtProvider(name="idp", keys=meant.keys.id, issuer="us")


def test_a_fault_leaves_no_provider():
    written = msgspec.convert({"issuer": "us", "jwks": {"type": "Inline", "inline": "{}"}}, Jwt)
    meant, (fault,) = build("idp", written, "shop", Cluster())
    assert meant is None
    assert fault.field == "jwks.inline"


def test_sources():
    found = sources(
        (
            CredentialSource(type="Header", name="Authorization"),
            CredentialSource(type="Header", name="Authorization", prefix="Token "),
            CredentialSource(type="Header", name="X-Token"),
            CredentialSource(type="Query", name="access_token"),
        )
    )
    assert found == (
        MeshSource(type="Header", name="authorization", prefix="Bearer "),
        MeshSource(type="Header", name="authorization", prefix="Token "),
        MeshSource(type="Header", name="x-token"),
        MeshSource(type="Query", name="access_token"),
    )
    assert forward((ForwardClaim(claim="a.b", header="X-A"),)) == (MeshForward(claim="a.b", header="x-a"),)
