"""Paths and addresses at a real sidecar: what is judged is what the application gets, and who calls is not made up."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from tests.support.local_mesh import EXAMPLES, SIDEWINDER, Up, running
from tests.support.smuggled import PATHS, SERVERS

pytestmark = pytest.mark.live

MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{name: http, port: 9080}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: api, namespace: shop, labels: {app: api}, annotations: {sidewinder.dev/trusted-hops: "1"}}
spec: {command: [python3, echo.py]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: api, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: api}]
  authorization:
    defaultAction: Deny
    rules:
    - {name: open, action: Allow, to: [{paths: [{type: PathPrefix, value: /open}]}]}
    - {name: office, action: Allow, from: [{cidrs: [203.0.113.0/24]}]}
    - {name: no-keys, action: Deny, to: [{paths: [{type: PathPrefix, value: /admin/keys}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: edge, namespace: shop}
spec: {selector: {app: edge}, ports: [{name: http, port: 9080}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: edge, namespace: shop, labels: {app: edge}, annotations: {sidewinder.dev/proxy-protocol: "9080"}}
spec: {command: [python3, echo.py]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: edge, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: edge}]
  authorization:
    rules:
    - {name: office, action: Allow, from: [{cidrs: [203.0.113.0/24]}]}
    - {name: mesh, action: Allow, from: [{serviceAccounts: [sidewinder-system/way-in]}]}
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    source = tmp_path_factory.mktemp("source") / "shop"
    source.mkdir()
    shutil.copy(EXAMPLES / "filters" / "echo.py", source)
    (source / "shop.yaml").write_text(MANIFESTS)
    with running(source, tmp_path_factory.mktemp("up")) as started:
        started.ready()
        yield started


def said(up: Up, name: str, raw: bytes) -> bytes:
    """What a caller without a sidecar hears from that sidecar; b"" if the connection is broken off."""
    with socket.create_connection(("127.0.0.1", up.proxy(name)["ports"]["inbound"]), timeout=10) as connection:
        connection.sendall(raw)
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
        except ConnectionResetError:
            return b""
    return answer


def get(path: bytes, *fields: bytes) -> bytes:
    lines = (b"GET " + path + b" HTTP/1.1", b"Host: api", b"Connection: close", *fields, b"", b"")
    return b"\r\n".join(lines)


def heard(answer: bytes) -> tuple[int, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    return status, json.loads(body) if status == 200 else head


OFFICE = b"X-Forwarded-For: 203.0.113.9"


def test_no_smuggled_path_reaches_what_it_may_not(up: Up) -> None:
    """All are from the office, which may go everywhere but to /admin/keys."""
    reached = 0
    for name, path in PATHS.items():
        status, told = heard(said(up, "api", get(path, OFFICE)))
        assert status in (200, 400, 403), name
        if status == 200:
            reached += 1
            target = told["target"].encode()
            assert {read(target) for read in SERVERS.values()} == {unquote_to_bytes(target)}, name
            assert not unquote_to_bytes(target).startswith(b"/admin/keys"), name
    assert reached, "some of them are only strange"


CLIENTS = {
    "the office": (b"/x", (OFFICE,), 200),
    "not the office": (b"/x", (b"X-Forwarded-For: 198.51.100.1",), 403),
    "forged further left": (b"/x", (b"X-Forwarded-For: 203.0.113.9, 198.51.100.1",), 403),
    "forged in another field": (b"/x", (b"X-Forwarded-For: 203.0.113.9", b"X-Forwarded-For: 198.51.100.1"), 403),
    "not to be read": (b"/x", (b"X-Forwarded-For: 203.0.113.9x",), 403),
    "everybody": (b"/open/x", (), 200),
    "not even the office": (b"/admin/keys", (OFFICE,), 403),
}


@pytest.mark.parametrize(("path", "fields", "wanted"), CLIENTS.values(), ids=CLIENTS)
def test_who_calls_is_who_the_trusted_hop_says(up: Up, path: bytes, fields: tuple[bytes, ...], wanted: int) -> None:
    status, told = heard(said(up, "api", get(path, *fields)))
    assert status == wanted
    if wanted == 403:
        assert b"office" not in told
        assert b"no-keys" not in told


HEADERS = {
    "the office": (b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n", 200),
    "not the office": (b"PROXY TCP4 198.51.100.1 10.0.0.1 4711 443\r\n", 403),
    "version 2": (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x01\x12\x67\x01\xbb", 200),
    "the load balancer itself": (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 403),
    "none": (b"", 0),
    "a broken one": (b"PROXY TCP4 203.0.113.9\r\n", 0),
}


@pytest.mark.parametrize(("header", "wanted"), HEADERS.values(), ids=HEADERS)
def test_who_calls_is_who_the_load_balancer_says(up: Up, header: bytes, wanted: int) -> None:
    answer = said(up, "edge", header + get(b"/x", b"X-Forwarded-For: 203.0.113.9"))
    if not wanted:
        assert answer == b""
        return
    status, told = heard(answer)
    assert status == wanted
    if wanted == 200:
        assert told["fields"]["x-forwarded-for"] == "203.0.113.9"


def test_the_mesh_needs_no_header_because_it_proves_who_it_is(up: Up) -> None:
    up.until(lambda: up.get("edge.shop.localhost", "/x").status == 200, "a certificate on both sides")


CHECKS = {
    "the office": (("--from-ip", "203.0.113.9", "--path", "/x"), "api", "office", 0),
    "another": (("--from-ip", "198.51.100.1", "--path", "/x"), "api", "defaultAction", 1),
    "the keys": (("--from-ip", "203.0.113.9", "--path", "/admin/keys"), "api", "no-keys", 1),
    "smuggled": (("--from-ip", "203.0.113.9", "--path", "/open/%2e%2e/x"), "api", "pathNormalization", 1),
    "the way in": (("--from", "sidewinder-system/way-in"), "edge", "mesh", 0),
}


@pytest.mark.parametrize(("words", "service", "rule", "code"), CHECKS.values(), ids=CHECKS)
def test_check_says_what_the_sidecar_does(up: Up, words: tuple[str, ...], service: str, rule: str, code: int) -> None:
    command = [str(SIDEWINDER), "authz", "check", "-n", "shop", "--to", service, "--state", str(up.state), "-o", "json"]
    done = subprocess.run([*command, *words], capture_output=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    [decision] = json.loads(done.stdout)["decisions"]
    assert (decision["rule"], decision["proxy"]) == (rule, f"LocalProcess/shop/{service}/0")
