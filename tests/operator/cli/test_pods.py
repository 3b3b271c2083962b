"""Webhooks that trust nobody, and pods without, with an older, and with an unready proxy."""

from __future__ import annotations

import base64
import datetime as dt
import json

from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.webhooks import CONFIGURATIONS
from sidewinder_operator.cli import pods
from sidewinder_operator.cli.findings import Place
from tests.support.kubectl import FakeKubectl

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
PLACE = Place(namespace="sys", now=NOW, version="0.1.0")
IMAGE = "example.org/sidecar:2"


def configuration(root):
    bundle = {"caBundle": base64.b64encode(roots.pem(root.certificate)).decode()} if root else {}
    return {"webhooks": [{"name": "hook", "clientConfig": bundle}]}


def webhooks(*found):
    things = {path: configuration(root) for path, root in zip(CONFIGURATIONS, found, strict=False)}
    return [(each.level, each.message) for each in pods.webhooks(FakeKubectl(things), PLACE)]


def test_webhooks_trust_somebody_and_for_a_while():
    good = roots.create("cluster.local", NOW)
    ending = roots.create("cluster.local", NOW, dt.timedelta(days=3))
    assert webhooks(good, good) == [("ok", "hook trusts 1 root(s)")] * 2
    assert webhooks(ending, None) == [
        ("warning", "a root of hook ends on 2026-01-04"),
        ("error", "hook trusts nobody: it cannot be called"),
    ]
    assert webhooks() == [
        ("error", "sidewinder-injection is missing"),
        ("error", "sidewinder-validation is missing"),
    ]


def pod(name, image=IMAGE, ready=True, proxy=True, phase="Running", **spec):
    containers = [{"name": "sidewinder-proxy"}] if proxy else []
    return {
        "metadata": {"name": name, "annotations": {"sidewinder.dev/injected": json.dumps({"image": image})}},
        "spec": {"initContainers": containers, "containers": [{"name": "a"}], **spec},
        "status": {"phase": phase, "initContainerStatuses": [{"name": "sidewinder-proxy", "ready": ready}]},
    }


def space(name, label="enabled"):
    return {"metadata": {"name": name, "labels": {"sidewinder.dev/inject": label} if label else None}}


def metrics(found):
    """Of proxies that are well."""
    page = "sidewinder_identity_expires_timestamp_seconds 9000000000\n"
    page += "sidewinder_identity_renews_timestamp_seconds 8000000000\n"
    return {f"/api/v1/namespaces/shop/pods/{each['metadata']['name']}:15021/proxy/metrics": page for each in found}


def asked(*found, spaces=None):
    api = FakeKubectl(
        metrics(found)
        | {
            "/api/v1/namespaces": spaces or [space("shop"), space("other", "")],
            "/api/v1/namespaces/shop/pods": list(found),
            "/api/v1/namespaces/sys/configmaps/sidewinder-injection": {
                "data": {"injection.json": json.dumps({"image": IMAGE, "systemNamespaces": ["sys"]})}
            },
        }
    )
    return list(pods.pods(api, PLACE)), api


def test_each_pod_that_is_not_as_it_should_be_is_named():
    told, api = asked(
        pod("good"),
        pod("bare", proxy=False),
        pod("old", image="example.org/sidecar:1"),
        pod("unready", ready=False),
        pod("host", proxy=False, hostNetwork=True),
        pod("done", proxy=False, phase="Succeeded"),
    )
    messages = {each.message: each for each in told}
    assert messages.keys() == {
        "1 pods (bare) without a proxy",
        "1 pods (old) with an older proxy",
        "1 pods (unready) whose proxy is not ready",
        "3 pods have a proxy",
        "certificates of 2 proxies hold and are renewed",
        "the API server reaches the webhook and accepts its certificate",
    }
    assert "rollout restart" in messages["1 pods (bare) without a proxy"].advice
    assert api.posted == ["/api/v1/namespaces/shop/pods?dryRun=All"]


def test_many_are_counted():
    told, _ = asked(*(pod(f"p{n}", proxy=False) for n in range(9)))
    assert told[0].message == "9 pods (p0, p1, p2, p3, p4 and 4 more) without a proxy"


def test_no_enabled_namespace_and_one_that_never_is():
    told, _ = asked(spaces=[space("other", "")])
    assert [each.message for each in told] == ["no namespace is enabled"]
    told, _ = asked(spaces=[space("sys")])
    assert [each.message for each in told] == ["it is labelled, and never injected"]


def test_a_mark_that_is_nonsense_is_an_older_proxy():
    broken = pod("odd")
    broken["metadata"]["annotations"]["sidewinder.dev/injected"] = "[]"
    told, _ = asked(broken)
    assert told[0].message == "1 pods (odd) with an older proxy"
