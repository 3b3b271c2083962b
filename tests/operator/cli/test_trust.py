"""A CA that is missing, broken, ending or half rotated, and bundles that lag behind."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import Any

from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.rotation import PROGRESS, REQUEST
from sidewinder_operator.cli import trust
from sidewinder_operator.cli.findings import Place
from tests.support.kubectl import FakeKubectl

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
PLACE = Place(namespace="sys", now=NOW, version="0.1.0")
SECRET = "/api/v1/namespaces/sys/secrets/sidewinder-ca"
GOOD = roots.create("cluster.local", NOW)


def secret(root: roots.Root = GOOD, **annotations: str) -> dict[str, Any]:
    data = {name: base64.b64encode(text).decode() for name, text in roots.dump(roots.Trust(root)).items()}
    return {"metadata": {"annotations": annotations}, "data": data}


def asked(found: dict[str, Any] | None) -> list[tuple[str, str]]:
    api = FakeKubectl({SECRET: found} if found is not None else {})
    return [(each.level, each.message) for each in trust.authority(api, PLACE)]


def test_a_root_that_can_be_used_is_named() -> None:
    ((level, message),) = asked(secret())
    assert level == "ok"
    assert message == f"the root {roots.fingerprint(GOOD.certificate)} signs, until 2035-12-30"


def test_what_is_missing_broken_or_ending_is_said() -> None:
    assert asked(None) == [("error", "the Secret sidewinder-ca is missing")]
    broken = secret()
    broken["data"]["ca.key"] = base64.b64encode(b"nonsense").decode()
    assert asked(broken) == [
        ("error", "the Secret sidewinder-ca cannot be used: ca.key: no unencrypted PEM private key")
    ]
    broken["data"]["ca.key"] = "%"
    assert asked(broken)[0][0] == "error"
    ((level, message),) = asked(secret(roots.create("cluster.local", NOW, dt.timedelta(days=9))))
    assert (level, message[-10:]) == ("warning", "2026-01-10")


def rotating(stage: str, hours: float, request: str = "one") -> list[tuple[str, str]]:
    since = (NOW - dt.timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
    progress = {"request": request, "stage": stage, "since": since, "waits": "1 of 3 proxies: shop/a"}
    return asked(secret(**{REQUEST: "one", PROGRESS: json.dumps(progress)}))[1:]


def test_a_rotation_that_waits_for_long_is_told() -> None:
    assert rotating("switched", 0.5) == [
        (
            "ok",
            "a rotation of the root is switched since 2026-01-01T11:30:00Z, and waits for 1 of 3 proxies: shop/a",
        )
    ]
    assert rotating("announced", 3)[0][0] == "warning"
    assert rotating("done", 3) == []
    assert rotating("switched", 3, request="an older one") == []


def spaces(**bundles: str) -> list[tuple[str, str, str]]:
    label = {"sidewinder.dev/inject": "enabled"}
    things: dict[str, Any] = {
        "/api/v1/namespaces": [
            {"metadata": {"name": "shop", "labels": label}},
            {"metadata": {"name": "office", "labels": label}},
            {"metadata": {"name": "other"}},
        ]
    }
    for name, text in bundles.items():
        things[f"/api/v1/namespaces/{name}/configmaps/sidewinder-trust"] = {"data": {"bundle.pem": text}}
    return [(each.level, each.about, each.message) for each in trust.bundles(FakeKubectl(things), PLACE)]


def test_every_enabled_namespace_has_the_bundle_of_the_operator() -> None:
    assert spaces(sys="x", shop="x", office="x") == [("ok", "trust", "2 enabled namespaces have the trust bundle")]
    assert spaces(sys="x", shop="y") == [
        ("error", "namespace shop", "its ConfigMap sidewinder-trust is missing or another"),
        ("error", "namespace office", "its ConfigMap sidewinder-trust is missing or another"),
    ]
    assert spaces() == [("error", "trust", "sys has no ConfigMap sidewinder-trust")]
