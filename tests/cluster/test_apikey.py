"""`sidewinder apikey` on a real API server: a Secret made, changed entry by entry, and the rest left alone."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator

import pytest

from sidewinder_sidecar.snapshot.hashed import key_hash
from tests.cluster.support.cluster import Cluster
from tests.support.local_mesh import SIDEWINDER

pytestmark = pytest.mark.cluster

SHOP = "shop-of-keys"


@pytest.fixture(scope="module")
def shop(cluster: Cluster) -> Iterator[str]:
    try:
        cluster.kubectl("create", "namespace", SHOP)
        yield SHOP
    finally:
        cluster.kubectl("delete", "namespace", SHOP, "--ignore-not-found", "--timeout=60s")


def sidewinder(cluster: Cluster, *words: str, status: int = 0) -> str:
    done = subprocess.run(
        [SIDEWINDER, "apikey", words[0], "-n", SHOP, *words[1:]],
        env=cluster.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return (done.stdout if not status else done.stderr).strip()


def kept(cluster: Cluster) -> dict[str, str]:
    found = json.loads(cluster.kubectl("get", "secret", "keys", f"--namespace={SHOP}", "-o", "json"))
    return {name: base64.b64decode(value).decode() for name, value in (found.get("data") or {}).items()}


def test_the_life_of_a_key(cluster: Cluster, shop: str) -> None:
    first = sidewinder(cluster, "create", "keys", "--plan", "gold", "--metadata", "team=web", "--expires", "90d")
    name = first.split("_")[1]
    assert json.loads(kept(cluster)[name])["hash"] == key_hash(first.encode())
    assert first not in str(kept(cluster))
    cluster.kubectl("patch", "secret", "keys", f"--namespace={shop}", "-p", '{"stringData":{"NOTES":"mine"}}')

    second = sidewinder(cluster, "rotate", "keys", f"swk_{name[:6]}", "--grace", "1h")
    assert json.loads(kept(cluster)[second.split("_")[1]])["plan"] == "gold"
    assert json.loads(kept(cluster)[name])["expires"] < json.loads(kept(cluster)[second.split("_")[1]])["expires"]

    sidewinder(cluster, "revoke", "keys", name)
    assert set(kept(cluster)) == {"NOTES", second.split("_")[1]}
    assert name not in sidewinder(cluster, "list", "keys")
    assert "no key begins with" in sidewinder(cluster, "revoke", "keys", name, status=1)


def test_who_may_not_is_told_so(cluster: Cluster, shop: str) -> None:
    assert "not found" in sidewinder(cluster, "create", "keys", "--namespace=nowhere-at-all", status=1)
