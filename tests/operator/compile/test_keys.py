"""Where keys come from: in place, in a ConfigMap, fetched; and what is told when they cannot be had."""

from __future__ import annotations

import msgspec
import pytest

from sidewinder_operator.compile.compiler import compile_cluster
from sidewinder_operator.compile.keys import NOT_YET, keys, problems, question, spec, wanted
from sidewinder_operator.mesh.jwt import MeshKeys
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.jwt import Jwt
from sidewinder_operator.resources.keys import Fetched
from sidewinder_sidecar.snapshot.authentication import KeysSpec
from sidewinder_sidecar.snapshot.jwks import judge
from tests.support.clusters import given
from tests.support.tokens import jwk, jwks

REMOTE = {"type": "Remote", "remote": {"uri": "https://idp.example/jwks.json", "cacheDuration": "10m"}}


def jwt(**more) -> Jwt:
    return msgspec.convert({"issuer": "https://idp.example/", **more}, Jwt)


def cluster(**data: str) -> Cluster:
    text = msgspec.json.encode(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "idp", "namespace": "shop"}, "data": data}
    ).decode()
    return given(text).cluster


def policy(name: str, source: dict | None = None, kind: str = "JWT") -> str:
    payload = {"issuer": "https://idp.example", **({"jwks": source} if source else {})}
    return msgspec.json.encode({
        "apiVersion": "sidewinder.dev/v1alpha1", "kind": "ApiPolicy", "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "targetRefs": [{"kind": "Namespace"}],
            "authentication": {"providers": [{"name": "idp", "type": kind, "jwt": payload}]},
        },
    }).decode()  # fmt: skip


def test_keys_in_place_are_normal_and_named_by_what_they_are():
    one, faults = keys(jwt(jwks={"type": "Inline", "inline": jwks(jwk(), jwk("ES256"))}), "shop", Cluster())
    other, _ = keys(jwt(jwks={"type": "Inline", "inline": jwks(jwk("ES256", x5c=["a"]), jwk())}), "base", Cluster())
    assert faults == ()
    assert one == other
    assert one.id.startswith("inline-")
    assert len(judge(one.jwks).keys) == 2
    assert spec(one) == KeysSpec(name=one.id, jwks=one.jwks)


def test_keys_of_a_config_map():
    source = {"type": "ConfigMap", "configMap": {"name": "idp", "key": "keys"}}
    found, faults = keys(jwt(jwks=source), "shop", cluster(keys=jwks(jwk())))
    assert faults == ()
    assert found.id == "shop/idp/keys"


@pytest.mark.parametrize(
    ("source", "namespace", "data", "field", "message"),
    [
        pytest.param({"type": "Inline", "inline": "<html>"}, "shop", {}, "jwks.inline", "not JSON", id="a page"),
        pytest.param({"type": "Inline", "inline": jwks(jwk(d="AQ"))}, "shop", {}, "jwks.inline", "secret",
                     id="private"),
        pytest.param({"type": "ConfigMap", "configMap": {"name": "other"}}, "shop", {}, "jwks.configMap.name",
                     "there is no ConfigMap shop/other", id="no ConfigMap"),
        pytest.param({"type": "ConfigMap", "configMap": {"name": "idp"}}, "base", {}, "jwks.configMap.name",
                     "there is no ConfigMap base/idp", id="of another namespace"),
        pytest.param({"type": "ConfigMap", "configMap": {"name": "idp"}}, "shop", {"keys": "{}"}, "jwks.configMap.key",
                     "it has keys", id="no such key"),
        pytest.param({"type": "ConfigMap", "configMap": {"name": "idp"}}, "shop", {"jwks.json": "{}"}, "jwks.configMap",
                     "no JWK Set", id="no keys in it"),
    ],
)  # fmt: skip
def test_what_users_wrote_wrong_is_told_with_its_field(source, namespace, data, field, message):
    found, (fault,) = keys(jwt(jwks=source), namespace, cluster(**data))
    assert found is None
    assert fault.field == field
    assert message in fault.message


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        pytest.param(None, ("", NOT_YET), id="not yet"),
        pytest.param(Fetched(problem="it is away"), ("", "it is away"), id="never"),
        pytest.param(Fetched(jwks="{}", problem="it is away"), ("{}", ""), id="the last good ones"),
        pytest.param(Fetched(jwks="{}"), ("{}", ""), id="good"),
    ],
)
def test_fetched_keys_are_those_that_are_held(held, expected):
    written = jwt(jwks=REMOTE)
    name = question(written).id
    found, faults = keys(written, "shop", Cluster(keys={name: held} if held else {}))
    assert faults == ()
    assert (found.jwks, found.missing) == expected
    assert found.id == name


def test_what_is_asked():
    remote = question(jwt(jwks=REMOTE))
    assert (remote.address, remote.issuer, remote.seconds) == ("https://idp.example/jwks.json", "", 600)
    assert remote.id.startswith("idp.example-")
    discovery = question(jwt())
    assert discovery.address == "https://idp.example/.well-known/openid-configuration"
    assert discovery.issuer == "https://idp.example/"
    private = question(jwt(jwks={"type": "Remote", "remote": {**REMOTE["remote"], "ca": "PEM"}}))
    assert len({remote.id, discovery.id, private.id}) == 3


def test_one_key_set_for_all_who_ask_the_same_as_often_as_the_most_careful():
    slow = {"type": "Remote", "remote": {**REMOTE["remote"], "cacheDuration": "1h"}}
    inline = {"type": "Inline", "inline": jwks(jwk())}
    found = wanted(given(policy("a", slow), policy("b", REMOTE), policy("c", slow), policy("d", inline)).cluster)
    assert [each.seconds for each in found.values()] == [600]
    assert wanted(given(policy("d", inline)).cluster) == {}


def test_an_issuer_that_is_away_is_told_to_who_needs_it_and_the_section_stays():
    there = given(policy("a", REMOTE), policy("b", REMOTE), policy("c")).cluster
    assert list(problems(there)) == []
    (name,) = {each.id for each in wanted(there).values() if not each.issuer}
    away = msgspec.structs.replace(there, keys={name: Fetched(jwks="{}", problem="it is away")})
    found = list(problems(away))
    assert [(each.reference.name, each.severity, each.reason) for each in found] == [
        ("a", "Warning", "KeysUnavailable"), ("b", "Warning", "KeysUnavailable"),
    ]  # fmt: skip
    assert found[0].message == "it is away; the last good keys stay"
    assert found[0].field == "spec.authentication.providers[0].jwt.jwks"
    assert set(found) <= set(compile_cluster(away).problems)
    never = msgspec.structs.replace(there, keys={name: Fetched(problem="it is away")})
    assert "no token of this issuer is taken" in next(problems(never)).message


def test_missing_keys_are_sent_as_such():
    assert spec(MeshKeys(id="a", missing="away")) == KeysSpec(name="a", missing="away")
