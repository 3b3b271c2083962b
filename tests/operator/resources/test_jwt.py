"""What a JWT provider may say: the design's manifest, the four ways to keys, and what is refused with its field."""

from __future__ import annotations

import msgspec
import pytest
import yaml

from sidewinder_operator.resources.jwt import Jwt, is_secure
from sidewinder_operator.resources.read import read

POLICY = """
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: public-api, namespace: bookinfo}
spec:
  targetRefs: [{kind: Service, name: reviews}]
  authentication: {providers: [{name: idp, type: JWT, jwt: %s}]}
"""
AT = "spec.authentication.providers[0].jwt"


def written(**more) -> dict:
    return {"issuer": "https://idp.example", "audiences": ["bookinfo"], **more}


def told(jwt: dict) -> list[tuple[str, str]]:
    found = read(yaml.safe_load(POLICY % msgspec.json.encode(jwt).decode()))
    return [(problem.field.removeprefix(AT).removeprefix("."), problem.message) for problem in found.problems]


@pytest.mark.parametrize(
    "jwt",
    [
        pytest.param(
            yaml.safe_load("""
            issuer: https://idp.example
            audiences: [bookinfo]
            jwks: {type: Remote, remote: {uri: https://idp.example/jwks.json, cacheDuration: 10m}}
            requiredScopes: ["reviews:read"]
            forwardClaims: [{claim: sub, header: x-user-id}]
            """),
            id="the design's",
        ),
        pytest.param(written(), id="discovery, unsaid"),
        pytest.param(written(jwks={"type": "Discovery"}), id="discovery"),
        pytest.param(written(jwks={"type": "Discovery", "discovery": {"cacheDuration": "1h"}}), id="discovery, slow"),
        pytest.param(written(jwks={"type": "Inline", "inline": '{"keys": []}'}, issuer="us"), id="inline"),
        pytest.param(written(jwks={"type": "ConfigMap", "configMap": {"name": "idp"}}, issuer="us"), id="ConfigMap"),
        pytest.param(
            written(jwks={"type": "Remote", "remote": {"uri": "http://localhost:9000/keys"}}), id="this machine"
        ),
        pytest.param(
            written(
                sources=[
                    {"type": "Header", "name": "x-token", "prefix": "Token "},
                    {"type": "Query", "name": "access_token"},
                    {"type": "Cookie", "name": "session"},
                ],
                requiredClaims=[{"claim": "realm_access.roles", "values": ["admin"]}],
                clockSkew="0s",
                stripToken=True,
            ),
            id="everything else",
        ),
    ],
)
def test_taken(jwt):
    assert told(jwt) == []


@pytest.mark.parametrize(
    ("jwt", "field", "right"),
    [
        pytest.param(written(issuer=""), "issuer", "", id="no issuer"),
        pytest.param(written(issuer="us"), "issuer", "https://", id="discovery of a name"),
        pytest.param(written(issuer="http://idp.example"), "issuer", "https://", id="discovery without TLS"),
        pytest.param(written(jwks={"type": "Remote"}), "jwks.remote", "required", id="no payload"),
        pytest.param(written(jwks={"type": "Inline", "remote": {"uri": "https://a/"}}), "jwks.inline", "",
                     id="another"),
        pytest.param(written(jwks={"type": "Remote", "remote": {"uri": "http://idp.example/"}}), "jwks.remote.uri",
                     "https://", id="keys without TLS"),
        pytest.param(written(jwks={"type": "Remote", "remote": {"uri": "https://a:b@idp.example/"}}),
                     "jwks.remote.uri", "without user", id="a password in the address"),
        pytest.param(written(jwks={"type": "Remote", "remote": {"uri": "file:///etc/passwd"}}), "jwks.remote.uri",
                     "https://", id="a file"),
        pytest.param(written(jwks={"type": "Remote", "remote": {"uri": "https://a/", "cacheDuration": "5s"}}),
                     "jwks.remote.cacheDuration", "30s", id="too often"),
        pytest.param(written(jwks={"type": "Discovery", "discovery": {"cacheDuration": "48h"}}),
                     "jwks.discovery.cacheDuration", "24h", id="too seldom"),
        pytest.param(written(clockSkew="10m"), "clockSkew", "5m", id="too far apart"),
        pytest.param(written(requiredScopes=["a b"]), "requiredScopes[0]", "scope", id="two scopes in one"),
        pytest.param(written(forwardClaims=[{"claim": "sub", "header": "host"}]), "forwardClaims[0].header", "own",
                     id="a header of the proxy's"),
        pytest.param(written(sources=[{"type": "Query", "name": "t", "prefix": "Bearer "}]), "sources[0].prefix",
                     "Header", id="a prefix in a query"),
        pytest.param(written(requiredClaims=[{"claim": "a", "values": []}]), "requiredClaims[0].values", "",
                     id="no value"),
        pytest.param(written(algorithm="none"), "algorithm", "", id="no such field"),
    ],
)  # fmt: skip
def test_refused_with_its_field(jwt, field, right):
    problems = told(jwt)
    assert [each for each in problems if each[0] == field and right in each[1]], problems


def test_defaults():
    found = msgspec.convert(written(), Jwt)
    assert (found.clock_skew, found.jwks, found.strip_token) == ("60s", None, False)


@pytest.mark.parametrize(
    ("uri", "secure"),
    [
        ("https://idp.example/a?b=c", True),
        ("https://[2001:db8::1]:8443/", True),
        ("http://127.0.0.1:80/", True),
        ("http://[::1]/", True),
        ("http://127.0.0.1.evil.example/", False),
        ("http://localhost@evil.example/", False),
        ("https://idp.example/#a", False),
        ("https://idp.example/ x", False),
        ("https://idp.example/\n", False),
        ("ftp://idp.example/", False),
    ],
)
def test_where_keys_may_come_from(uri, secure):
    assert is_secure(uri) is secure
