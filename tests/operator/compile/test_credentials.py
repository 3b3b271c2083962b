"""What Secrets say of who may come: a broken entry takes only itself out, and nothing of a value is told."""

from __future__ import annotations

from typing import Any

from sidewinder_operator.compile.credentials import MOST_TOLD, api_keys, client, users
from sidewinder_operator.resources.cluster import Cluster, gather
from sidewinder_operator.resources.core import Secret
from sidewinder_operator.resources.meta import ObjectMeta
from sidewinder_sidecar.snapshot.authentication import Credential

HASH = "sha256:" + "1" * 64
PHC = "$scrypt$ln=14,r=8,p=5$MDEyMzQ1Njc4OWFiY2RlZg$" + "A" * 43


def cluster(**entries: Any) -> Cluster:
    texts = {name.replace("_", "-"): value for name, value in entries.items() if isinstance(value, str)}
    data = {name.replace("_", "-"): value for name, value in entries.items() if isinstance(value, bytes)}
    return gather([Secret(metadata=ObjectMeta(name="s", namespace="shop"), string_data=texts, data=data)])


def test_keys() -> None:
    spec, faults = api_keys(
        cluster(
            bbbbbbbbbb=f'{{"hash":"{HASH}","plan":"gold","metadata":{{"team":"web"}},"expires":"1970-01-01T00:01:00Z"}}',
            aaaaaaaaaa=f'{{"hash":"{HASH}"}}'.encode(),
        ),
        "shop",
        "s",
    )
    assert faults == ()
    assert spec is not None
    assert spec.name == "shop/s/api-keys"
    assert spec.credentials == (
        Credential(id="aaaaaaaaaa", hash=HASH),
        Credential(id="bbbbbbbbbb", hash=HASH, plan="gold", metadata={"team": "web"}, expires=60.0),
    )


def test_a_broken_key_takes_only_itself_out() -> None:
    spec, faults = api_keys(
        cluster(aaaaaaaaaa=f'{{"hash":"{HASH}"}}', bbbbbbbbbb="swk_planted", README="planted", cccccccccc=b"\xff"),
        "shop",
        "s",
    )
    assert spec is not None
    assert [credential.id for credential in spec.credentials] == ["aaaaaaaaaa"]
    assert [(fault.field, fault.reason) for fault in faults] == [("name", "InvalidEntry")] * 3
    told = " ".join(fault.message for fault in faults)
    assert "README" in told
    assert "bbbbbbbbbb" in told
    assert "planted" not in told


def test_of_many_broken_keys_some_are_told() -> None:
    _, faults = api_keys(cluster(**{f"NO{number}": "x" for number in range(100)}), "shop", "s")
    assert len(faults) == MOST_TOLD + 1
    assert faults[-1].message.endswith(f"and {100 - MOST_TOLD} more")


def test_users() -> None:
    lines = f"""
# people
alice:{PHC}
 zoë:{PHC}
bob:$2y$05$planted
nobody
:{PHC}
alice:{PHC}
carol:{PHC}x:y
"""
    spec, faults = users(cluster(users=lines), "shop", "s")
    assert spec is not None
    assert spec.name == "shop/s/users"
    assert [credential.id for credential in spec.credentials] == ["alice", "zoë"]
    told = " ".join(fault.message for fault in faults)
    assert "sidewinder apikey password bob" in told
    assert "alice is there twice" in told
    assert len(faults) == 5
    assert "planted" not in told
    assert "AAAA" not in told


def test_a_client() -> None:
    spec, faults = client(cluster(client_id="me\n", client_secret=b"hush"), "shop", "s")
    assert faults == ()
    assert spec is not None
    assert (spec.name, spec.credentials) == ("shop/s/client", (Credential(id="me", plain="hush"),))


def test_half_a_client_is_none() -> None:
    spec, faults = client(cluster(client_id="me"), "shop", "s")
    assert spec is None
    assert ["client-secret" in fault.message for fault in faults] == [True]


def test_what_is_not_there() -> None:
    for read in (api_keys, users, client):
        spec, faults = read(cluster(), "shop", "other")
        assert spec is None
        assert [(fault.field, fault.reason) for fault in faults] == [("name", "RefNotFound")]
    spec, faults = users(cluster(), "shop", "s")
    assert spec is not None
    assert spec.credentials == ()
    assert len(faults) == 1
