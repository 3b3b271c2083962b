"""authentication: from what is written, with its Secrets, to what one proxy is sent."""

from __future__ import annotations

from typing import Any

import msgspec

from sidewinder_operator.compile.authentication import ROW, build, credential_specs, key_specs, spec
from sidewinder_operator.resources.authentication import Authentication
from sidewinder_operator.resources.cluster import Cluster, gather
from sidewinder_operator.resources.core import Secret
from sidewinder_operator.resources.meta import ObjectMeta
from sidewinder_sidecar.snapshot.authentication import (
    ApiKeyProvider,
    AuthenticationSpec,
    BasicProvider,
    ExternalProvider,
    Forward,
    IntrospectionProvider,
    Source,
)

CLUSTER = gather(
    [
        Secret(metadata=ObjectMeta(name="keys", namespace="shop"), string_data={}),
        Secret(metadata=ObjectMeta(name="users", namespace="shop"), string_data={"users": "broken"}),
        Secret(
            metadata=ObjectMeta(name="client", namespace="shop"),
            string_data={"client-id": "me", "client-secret": "hush"},
        ),
        Secret(metadata=ObjectMeta(name="keys", namespace="other"), string_data={}),
    ]
)


def section(*providers: Any, **more: Any) -> Authentication:
    return msgspec.convert({"providers": list(providers), **more}, Authentication)


KEYS = {
    "name": "keys",
    "type": "APIKey",
    "apiKey": {
        "secretRef": {"name": "keys"},
        "sources": [{"type": "Header", "name": "X-Key"}, {"type": "Cookie", "name": "Key"}],
        "forwardClaims": [{"claim": "plan", "header": "X-Plan"}],
        "stripKey": True,
    },
}
USERS = {"name": "users", "type": "Basic", "basic": {"secretRef": {"name": "users"}, "realm": "shop"}}
IDP = {
    "name": "idp",
    "type": "OAuth2Introspection",
    "oauth2Introspection": {
        "uri": "https://idp.example/i",
        "clientSecretRef": {"name": "client"},
        "cacheDuration": "1m",
        "timeout": "500ms",
        "audiences": ["shop"],
        "requiredScopes": ["read"],
        "ca": "PEM",
    },
}
OWN = {
    "name": "own",
    "type": "External",
    "external": {"uri": "http://authz:81/", "failOpen": True, "sendHeaders": ["X-A"], "allowHeaders": ["X-B"]},
}


def test_everything_is_sent() -> None:
    meant, faults = build(section(KEYS, USERS, IDP, OWN, credentials="Optional", require="All"), CLUSTER, "shop")
    assert [fault.field for fault in faults] == ["providers[1].basic.secretRef.name"]
    assert spec(meant, "shop/p") == AuthenticationSpec(
        policy="shop/p",
        credentials="Optional",
        require="All",
        providers=(
            ApiKeyProvider(
                name="keys",
                credentials="shop/keys/api-keys",
                sources=(Source(name="x-key"), Source(type="Cookie", name="Key")),
                forward=(Forward("plan", "x-plan"),),
                strip=True,
            ),
            BasicProvider(name="users", credentials="shop/users/users", realm="shop"),
            IntrospectionProvider(
                name="idp",
                uri="https://idp.example/i",
                credentials="shop/client/client",
                cache=60.0,
                timeout=0.5,
                audiences=("shop",),
                required_scopes=("read",),
                ca="PEM",
            ),
            ExternalProvider(
                name="own", uri="http://authz:81/", fail_open=True, send_headers=("x-a",), allow_headers=("x-b",)
            ),
        ),
    )
    assert [each.name for each in credential_specs(meant)] == [
        "shop/client/client",
        "shop/keys/api-keys",
        "shop/users/users",
    ]
    assert key_specs(meant) == ()


def test_keys_of_tokens_ride_along() -> None:
    token = {"name": "a", "type": "JWT", "jwt": {"issuer": "https://idp.example"}}
    meant, faults = build(section(token, {**token, "name": "b"}), Cluster(), "shop")
    assert faults == ()
    assert [keys.missing != "" for keys in key_specs(meant)] == [True]
    assert {provider.name for provider in spec(meant, "p").providers} == {"a", "b"}


def test_without_one_of_its_secrets_there_is_no_section() -> None:
    meant, faults = build(section(OWN, IDP), CLUSTER, "other")
    assert meant is None
    assert [(fault.field, fault.reason) for fault in faults] == [
        ("providers[1].oauth2Introspection.clientSecretRef.name", "RefNotFound")
    ]
    assert "other/client" in faults[0].message


def test_the_usual_places_are_those_of_the_sidecar() -> None:
    plain = {"name": "keys", "type": "APIKey", "apiKey": {"secretRef": {"name": "keys"}}}
    bare = {"uri": "https://idp.example", "clientSecretRef": {"name": "client"}}
    meant, _ = build(
        section(plain, {"name": "idp", "type": "OAuth2Introspection", "oauth2Introspection": bare}), CLUSTER, "shop"
    )
    assert spec(meant, "p").providers == (
        ApiKeyProvider(name="keys", credentials="shop/keys/api-keys"),
        IntrospectionProvider(name="idp", uri="https://idp.example", credentials="shop/client/client"),
    )


def test_it_acts_in_the_serving_proxy() -> None:
    assert not ROW.client
