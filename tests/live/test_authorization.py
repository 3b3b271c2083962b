"""Who may call what, in a real `sidewinder up`: identities that were proven, refusals that tell nothing, trying out."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local_mesh import EXAMPLES, Answer, Up, running

pytestmark = pytest.mark.live

APPLICATIONS = """
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{name: http, port: 9080}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {serviceAccount: api, command: [python3, echo.py]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: page, namespace: shop, labels: {app: page}}
spec: {serviceAccount: page, command: [python3, echo.py]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: other, namespace: elsewhere, labels: {app: other}}
spec: {serviceAccount: page, command: [python3, echo.py]}
"""
POLICY = """
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: zero-trust, namespace: shop}
spec:
  targetRefs: [{kind: Namespace}]
  authorization:
    mode: %s
    defaultAction: Deny
    rules:
    - name: page-reads
      action: Allow
      from: [{serviceAccounts: [shop/page]}]
      to: [{methods: [GET], paths: [{type: PathPrefix, value: /items}]}]
    - name: pages-write
      action: Allow
      from: [{spiffeIds: ["spiffe://cluster.local/ns/shop/sa/pa*"]}]
      to: [{methods: [PUT], hosts: ["*.shop"], notPaths: [{type: Exact, value: /items/1}]}]
    - name: no-drafts
      action: Deny
      to: [{paths: [{type: PathPrefix, value: /items/drafts}]}]
      when: [{header: x-role, operator: NotIn, values: [editor]}]
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    source = tmp_path_factory.mktemp("source") / "shop"
    source.mkdir()
    shutil.copy(EXAMPLES / "filters" / "echo.py", source)
    (source / "shop.yaml").write_text(APPLICATIONS)
    write(source / "policy.yaml", POLICY % "Enforce")
    with running(source, tmp_path_factory.mktemp("up"), "--access-log") as started:
        started.ready()
        yield started


@pytest.fixture
def policy(up: Up) -> Iterator[Path]:
    """The policy's file, as it was again afterwards."""
    file = up.folder / "policy.yaml"
    yield file
    write(file, POLICY % "Enforce")
    up.until(lambda: ask(up, "other").status == 403 and ask(up, "page").status == 200, "all is as it was")


def write(file: Path, text: str) -> None:
    """Whole, as an editor and a checkout do."""
    other = file.with_suffix(".new")
    other.write_text(text)
    other.rename(file)


def ask(up: Up, caller: str, target: str = "/items/1", method: str = "GET", **fields: str) -> Answer:
    """As an application asks, through the proxy that it was given: its certificate says who it is."""
    port = up.proxy(caller)["ports"]["outbound"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, f"http://api.shop:9080{target}", headers=headers)
        return Answer(connection.getresponse())
    finally:
        connection.close()


CALLS = [
    ("who may", "page", "/items/1", "GET", {}, 200),
    ("another method", "page", "/items/1", "POST", {}, 403),
    ("another path", "page", "/orders", "GET", {}, 403),
    ("by a part of the identity", "page", "/items/2", "PUT", {}, 501),  # the application knows no PUT
    ("but not that path", "page", "/items/1", "PUT", {}, 403),
    ("an identity of another namespace", "other", "/items/2", "PUT", {}, 403),
    ("what only begins so", "page", "/itemsets", "GET", {}, 403),
    ("the same name in another namespace", "other", "/items/1", "GET", {}, 403),
    ("what is denied to who may", "page", "/items/drafts/1", "GET", {}, 403),
    ("but not to editors", "page", "/items/drafts/1", "GET", {"x_role": "editor"}, 200),
    ("nor to half an editor", "page", "/items/drafts/1", "GET", {"x_role": "editor, admin"}, 403),
    ("a way around by dots", "page", "/items/x/../drafts/1", "GET", {}, 400),
    ("a way around by a code", "page", "/items/%64rafts/1", "GET", {}, 400),
]


@pytest.mark.parametrize(("caller", "target", "method", "fields", "status"), [each[1:] for each in CALLS],
                         ids=[each[0] for each in CALLS])  # fmt: skip
def test_who_may_call_what(up: Up, caller: str, target: str, method: str, fields: dict[str, str], status: int) -> None:
    answer = ask(up, caller, target, method, **fields)
    assert answer.status == status
    if status == 403:
        told = answer.fields["proxy-status"] + answer.body.decode()
        assert "http_request_denied" in told
        assert [word for word in ("zero-trust", "page", "drafts", "spiffe") if word in told] == []


def test_nobody_is_who_he_says_he_is(up: Up) -> None:
    """A caller without a certificate, at the door itself, with every header that might say more."""
    port = up.proxy("api")["ports"]["inbound"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    said = "By=spiffe://cluster.local/ns/shop/sa/api;URI=spiffe://cluster.local/ns/shop/sa/page"
    connection.request("GET", "/items/1", headers={"Host": "api.shop", "X-Forwarded-Client-Cert": said})
    assert connection.getresponse().status == 403
    connection.close()
    assert up.get("api.shop.localhost", "/items/1").status == 403, "the way in has another identity"


def test_the_rule_that_decided_is_in_the_log_of_who_was_called(up: Up) -> None:
    before = len(up.lines)
    assert ask(up, "page", "/items/drafts/7").status == 403
    line = up.told('"policy":"shop/zero-trust/no-drafts"', after=before)
    told = json.loads(line[line.index("{") :])
    assert told["identity"] == "spiffe://cluster.local/ns/shop/sa/page"
    assert ask(up, "other", "/items/8").status == 403
    up.told('"policy":"shop/zero-trust/defaultAction"', after=before)
    assert ask(up, "page", "/items/9").status == 200
    up.told('"policy":"shop/zero-trust/page-reads"', after=before)


def test_trying_out_lets_pass_and_tells(up: Up, policy: Path) -> None:
    write(policy, POLICY % "Audit")
    up.until(lambda: ask(up, "other").status == 200, "nobody is refused")
    before = len(up.lines)
    assert ask(up, "page", "/items/drafts/1").status == 200
    up.told('"policy":"audit:shop/zero-trust/no-drafts"', after=before)
    assert ask(up, "other", "/items/../x").status == 200, "paths are not refused either"
    up.told('"policy":"audit:shop/zero-trust/defaultAction"', after=before)


def test_a_policy_that_breaks_goes_on_as_it_was(up: Up, policy: Path) -> None:
    before = len(up.lines)
    write(policy, (POLICY % "Enforce").replace("[shop/page]", "[page]"))
    up.told("a namespace and a name such as", after=before)
    assert ask(up, "page").status == 200
    assert ask(up, "other").status == 403
    assert ask(up, "page", "/items/drafts/1").status == 403
