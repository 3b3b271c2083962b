"""needs: every Secret and ConfigMap that a policy names is found; a new kind of reference would be missed here."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import inspect

from sidewinder_operator.compile.needs import Need, needs
from sidewinder_operator.resources.policy import ApiPolicy, ApiPolicySpec
from sidewinder_operator.resources.read import read
from tests.support.refusals import policy


def named(**sections: Any) -> set[Need]:
    reading = read(policy(**sections))
    assert isinstance(reading.found, ApiPolicy), reading.problems
    return set(needs(reading.found))


def test_secrets_and_lists_are_found_however_deep() -> None:
    space = read(policy()).reference.namespace
    found = named(
        authentication={
            "providers": [
                {"name": "keys", "type": "APIKey", "apiKey": {"secretRef": {"name": "keys"}}},
                {
                    "name": "token",
                    "type": "OAuth2Introspection",
                    "oauth2Introspection": {"uri": "https://idp.example/i", "clientSecretRef": {"name": "client"}},
                },
                {
                    "name": "idp",
                    "type": "JWT",
                    "jwt": {
                        "issuer": "https://idp.example",
                        "audiences": ["shop"],
                        "jwks": {"type": "ConfigMap", "configMap": {"name": "jwks", "key": "keys.json"}},
                    },
                },
            ]
        },
        authorization={
            "rules": [
                {
                    "name": "office",
                    "action": "Allow",
                    "from": [{"notCIDRsFrom": [{"configMapRef": {"name": "office"}, "key": "v4"}]}],
                }
            ]
        },
    )
    assert found == {
        Need("Secret", space, "keys"),
        Need("Secret", space, "client"),
        Need("ConfigMap", space, "jwks"),
        Need("ConfigMap", space, "office"),
    }


def test_most_policies_need_nothing() -> None:
    assert named(mtls={"mode": "Strict"}) == set()


def test_every_reference_that_can_be_written_is_looked_for() -> None:
    """By its name: whoever adds a reference that is called otherwise is told here."""
    told = {field for field, kind in _fields(ApiPolicySpec) if kind.__name__ in ("SecretRef", "ConfigMapReference")}
    assert told == {"secret_ref", "client_secret_ref", "config_map_ref"}


def _fields(kind: type[Any], seen: set[type[Any]] | None = None) -> list[tuple[str, type[Any]]]:
    seen = set() if seen is None else seen
    if kind in seen:
        return []
    seen.add(kind)
    found: list[tuple[str, type[Any]]] = []
    described = inspect.type_info(kind)
    assert isinstance(described, inspect.StructType)
    for field in described.fields:
        for struct in _structs(field.type):
            found += [(field.name, struct), *_fields(struct, seen)]
    return found


def _structs(of: inspect.Type) -> list[type[msgspec.Struct]]:
    if isinstance(of, inspect.StructType):
        return [of.cls]
    if isinstance(of, inspect.Metadata):
        return _structs(of.type)
    if isinstance(of, inspect.VarTupleType):
        return _structs(of.item_type)
    if isinstance(of, inspect.UnionType):
        return [struct for one in of.types for struct in _structs(one)]
    return []
