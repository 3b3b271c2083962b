"""The section `authentication` as written: defaults, unions, and what is refused with what would be right."""

from __future__ import annotations

from typing import Any

import pytest

from sidewinder_operator.resources.authentication import Authentication
from sidewinder_operator.resources.policy import ApiPolicy
from sidewinder_operator.resources.read import read


def policy(*providers: Any, kind: str = "Service", **more: Any) -> dict[str, Any]:
    target = {"kind": kind} if kind in ("Mesh", "Namespace") else {"kind": kind, "name": "reviews"}
    return {
        "apiVersion": "sidewinder.dev/v1alpha1",
        "kind": "ApiPolicy",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"targetRefs": [target], "authentication": {"providers": list(providers), **more}},
    }


KEYS = {"name": "keys", "type": "APIKey", "apiKey": {"secretRef": {"name": "k"}}}
USERS = {"name": "users", "type": "Basic", "basic": {"secretRef": {"name": "u"}}}


def idp(**payload: Any) -> dict[str, Any]:
    asked = {"uri": "https://idp.example/i", "clientSecretRef": {"name": "c"}, **payload}
    return {"name": "idp", "type": "OAuth2Introspection", "oauth2Introspection": asked}


def own(**payload: Any) -> dict[str, Any]:
    return {"name": "own", "type": "External", "external": {"uri": "http://authz:8080/", **payload}}


def test_defaults() -> None:
    reading = read(policy(KEYS, USERS, idp(), own()))
    assert reading.problems == []
    assert isinstance(reading.found, ApiPolicy)
    section = reading.found.spec.authentication
    assert isinstance(section, Authentication)
    assert (section.credentials, section.require) == ("Required", "Any")
    keys, users, introspection, external = section.providers
    assert keys.api_key is not None
    assert users.basic is not None
    assert (users.basic.realm, users.basic.strip_credentials, keys.api_key.strip_key) == ("sidewinder", True, False)
    assert introspection.oauth2_introspection is not None
    assert (introspection.oauth2_introspection.cache_duration, introspection.oauth2_introspection.timeout) == (
        "30s",
        "2s",
    )
    assert external.external is not None
    assert external.external.send_headers == ("authorization", "cookie")
    assert external.external.fail_open is False
    assert section.secrets() == ("k", "u", "c")


AT = "spec.authentication"
WRONG = {
    "no provider": (policy(), f"{AT}.providers"),
    "nine": (policy(*({**KEYS, "name": f"k{number}"} for number in range(9))), f"{AT}.providers"),
    "one name for two": (policy(KEYS, {**USERS, "name": "keys"}), f"{AT}.providers[1]"),
    "a payload of another type": (policy({**KEYS, "basic": USERS["basic"]}), f"{AT}.providers[0].basic"),
    "no payload": (policy({"name": "a", "type": "External"}), f"{AT}.providers[0].external"),
    "an unknown type": (policy({"name": "a", "type": "Kerberos"}), f"{AT}.providers[0].type"),
    "introspection in clear": (policy(idp(uri="http://idp.example/i")), f"{AT}.providers[0].oauth2Introspection.uri"),
    "a user in the address": (policy(own(uri="https://me:hush@authz/")), f"{AT}.providers[0].external.uri"),
    "too long a cache": (policy(idp(cacheDuration="2h")), f"{AT}.providers[0].oauth2Introspection.cacheDuration"),
    "no time at all": (policy(own(timeout="1ms")), f"{AT}.providers[0].external.timeout"),
    "a header of framing": (
        policy(own(allowHeaders=["Content-Length"])),
        f"{AT}.providers[0].external.allowHeaders[0]",
    ),
    "Host": (policy(own(sendHeaders=["host"])), f"{AT}.providers[0].external.sendHeaders[0]"),
    "a Secret of elsewhere": (
        policy({**KEYS, "apiKey": {"secretRef": {"name": "k", "namespace": "other"}}}),
        f"{AT}.providers[0].apiKey.secretRef.namespace",
    ),
    "on a route": (policy(KEYS, kind="ApiRoute"), "spec.authentication"),
    "maybe": (policy(KEYS, credentials="Maybe"), f"{AT}.credentials"),
}


@pytest.mark.parametrize(("written", "field"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_at_its_place(written: dict[str, Any], field: str) -> None:
    reading = read(written)
    assert reading.found is None
    assert any(problem.field.startswith(field) for problem in reading.problems), reading.problems


@pytest.mark.parametrize("kind", ["Mesh", "Namespace", "Service"])
def test_where_it_may_stand(kind: str) -> None:
    assert read(policy(KEYS, kind=kind)).problems == []
    assert Authentication.SECURITY
    assert Authentication.SIDE == "Server"
