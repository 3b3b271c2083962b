"""Server sections in a running mesh: by whatever name somebody calls, closed when broken, and live when changed."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local_mesh import EXAMPLES, Answer, Up, running

pytestmark = pytest.mark.live

SHOP, EVIL = "https://shop.example", "https://evil.example"
APPLICATION = """
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: api-too, namespace: shop}
spec: {selector: {app: api}, ports: [{name: other, port: 80}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {command: [python3, echo.py]}
"""
LIST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: refused, namespace: shop}
data: {list: "%s"}
"""
POLICY = """
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: guarded, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: api}]
  cors: {allowOrigins: ["https://shop.example"], allowMethods: [PUT], allowCredentials: true}
  authorization:
    defaultAction: Allow
    rules:
    - {name: closed, action: Deny, to: [{paths: [{type: PathPrefix, value: /closed}]}]}
    - {name: listed, action: Deny, from: [{cidrsFrom: [{configMapRef: {name: refused}, key: list}]}]}
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    source = tmp_path_factory.mktemp("source") / "shop"
    source.mkdir()
    shutil.copy(EXAMPLES / "filters" / "echo.py", source)
    (source / "shop.yaml").write_text(APPLICATION)
    (source / "list.yaml").write_text(LIST % "192.0.2.0/24")
    (source / "policy.yaml").write_text(POLICY)
    with running(source, tmp_path_factory.mktemp("up"), "--access-log") as started:
        started.ready()
        yield started


@pytest.fixture
def policy(up: Up) -> Iterator[Path]:
    """The policy's file, as it was again afterwards."""
    file = up.folder / "policy.yaml"
    yield file
    write(file, POLICY)
    (up.folder / "list.yaml").write_text(LIST % "192.0.2.0/24")
    up.until(lambda: ask(up, "/open").status == 200 and ask(up, "/closed").status == 403, "all is as it was")


def write(file: Path, text: str) -> None:
    """Whole, as an editor and a checkout do."""
    other = file.with_suffix(".new")
    other.write_text(text)
    other.rename(file)


def ask(up: Up, target: str, method: str = "GET", host: str = "api:9080", **fields: str) -> Answer:
    """A caller without a sidecar, at the door of the application's own."""
    port = up.proxy("api")["ports"]["inbound"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, target, headers={"Host": host, **headers})
        return Answer(connection.getresponse())
    finally:
        connection.close()


NAMES = ["api:9080", "api-too", "api-too.shop.svc.cluster.local", "127.0.0.1", "elsewhere.example", "other.shop"]


@pytest.mark.parametrize("host", NAMES)
def test_by_whatever_name_somebody_calls(up: Up, host: str) -> None:
    """The policy is attached to one of two Services, and nobody needs to know either."""
    assert ask(up, "/open", host=host).status == 200
    refused = ask(up, "/closed", host=host)
    assert refused.status == 403
    told = refused.fields["proxy-status"] + refused.body.decode()
    assert "guarded" not in told
    assert "http_request_denied" in told


def test_by_another_target_and_through_the_way_in(up: Up) -> None:
    assert ask(up, "http://elsewhere.example/closed/x").status == 403
    assert ask(up, "/closed", "OPTIONS").status == 403
    for host in ("api.shop.localhost", "api-too.shop.localhost"):
        assert up.get(host, "/closed").status == 403
        assert up.get(host, "/open").status == 200


def test_who_decided_is_told_in_the_log_and_counted(up: Up) -> None:
    before = len(up.lines)
    assert ask(up, "/closed?who=decided").status == 403
    line = up.told('"policy":"shop/guarded/closed"', after=before)
    assert '"status":403' in line
    connection = http.client.HTTPConnection("127.0.0.1", up.proxy("api")["ports"]["probe"], timeout=10)
    connection.request("GET", "/metrics")
    metrics = connection.getresponse().read().decode()
    connection.close()
    name = 'sidewinder_policy_decisions_total{kind="authorization",action="Deny",policy="shop/guarded"}'
    assert name in metrics


def test_a_page_of_another_origin(up: Up) -> None:
    asked = {"origin": SHOP, "access_control_request_method": "PUT"}
    preflight = ask(up, "/closed", "OPTIONS", **asked)
    assert preflight.status == 204
    assert preflight.fields["access-control-allow-origin"] == SHOP
    assert preflight.fields["access-control-allow-methods"] == "PUT"
    refused = ask(up, "/closed", origin=SHOP)
    assert (refused.status, refused.fields["access-control-allow-origin"]) == (403, SHOP)
    read = ask(up, "/open", origin=SHOP)
    assert (read.status, read.fields["access-control-allow-credentials"]) == (200, "true")
    assert read.fields["vary"] == "Origin"
    for answer in (ask(up, "/open", origin=EVIL), ask(up, "/open", "OPTIONS", **{**asked, "origin": EVIL})):
        assert not [name for name in answer.fields if name.startswith("access-control")]


def test_a_list_that_changes_is_live_within_a_second(up: Up, policy: Path) -> None:
    write(up.folder / "list.yaml", LIST % "127.0.0.0/8")
    assert up.until(lambda: ask(up, "/open").status == 403, "the list holds") < 2  # two cores, and eight others on them
    write(up.folder / "list.yaml", LIST % "192.0.2.0/24")
    up.until(lambda: ask(up, "/open").status == 200, "and does not any more")


def test_what_breaks_keeps_what_held_and_what_never_was_good_is_closed(up: Up, policy: Path) -> None:
    leaks: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            if (status := ask(up, "/closed").status) != 403:
                leaks.append(status)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        before = len(up.lines)
        write(policy, POLICY.replace("action: Deny, to", "action: Perhaps, to"))
        up.told("Perhaps", after=before)
        assert ask(up, "/open").status == 200, "as it last was"
        other = POLICY.replace("name: guarded", "name: late").replace("name: refused", "name: nowhere")
        write(policy, f"{POLICY}---{other}")
        up.until(lambda: ask(up, "/open").status == 403, "the scope of the new one is closed")
        assert ask(up, "/open", "OPTIONS", origin=SHOP, access_control_request_method="PUT").status == 403
        write(policy, POLICY)
        up.until(lambda: ask(up, "/open").status == 200, "mended")
    finally:
        done.set()
        watcher.join()
    assert leaks == []


def test_the_configuration_shows_who_guards_what(up: Up) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", up.proxy("api")["ports"]["admin"], timeout=10)
    connection.request("GET", "/config")
    resources = json.loads(connection.getresponse().read())["resources"]
    connection.close()
    guarding = {body.get("policy") for name, body in resources.items() if name.startswith("service/inbound")}
    assert guarding == {"shop/api"}
