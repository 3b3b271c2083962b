"""Copies in a running mesh: whatever their backend does, callers get what they would have got, as fast."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.local_mesh import SIDEWINDER, Up, running

pytestmark = pytest.mark.live

# One program for both Services: `shadow` misbehaves by the first element of the path, the other answers.
APPLICATION = """
import json, os, socketserver, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SHADOW = sys.argv[1] == "shadow"
BIG = bytes(10_000_000)

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        seen.append((self.command, self.path, self.headers.get("x-sidewinder-mirror", ""), len(body)))
        how = self.path.split("/")[1]
        if self.path == "/seen":
            return self.answer(json.dumps(seen).encode())
        if SHADOW and how == "slow":
            time.sleep(20)
        if SHADOW and how == "cut":
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 100\\r\\n\\r\\nhalf")
            self.wfile.flush()
            self.close_connection = True
            return
        if SHADOW and how == "big":
            return self.answer(BIG)
        self.answer(b"other" if SHADOW and how == "differs" else b"answer to " + self.path.encode() + body)

    do_POST = do_GET

    def answer(self, body):
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

seen = []
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: app, namespace: shop}
spec: {selector: {app: app}, ports: [{port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: shadow, namespace: shop}
spec: {selector: {app: shadow}, ports: [{port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody, namespace: shop}
spec: {selector: {app: nobody}, ports: [{port: 9080}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: app, namespace: shop, labels: {app: app}}
spec: {command: [python3, app.py, app]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: shadow, namespace: shop, labels: {app: shadow}}
spec: {command: [python3, app.py, shadow]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: app, namespace: shop}
spec:
  parentRefs: [{kind: Service, name: app}]
  rules:
  - name: some
    matches: [{path: {type: PathPrefix, value: /some}}]
    filters: [{type: RequestMirror, requestMirror: {backendRef: {name: shadow, port: 9080}, percent: 20}}]
    backendRefs: [{name: app, port: 9080}]
  - name: gone
    matches: [{path: {type: PathPrefix, value: /gone}}]
    filters: [{type: RequestMirror, requestMirror: {backendRef: {name: nobody, port: 9080}}}]
    backendRefs: [{name: app, port: 9080}]
  - name: seen
    matches: [{path: {type: PathPrefix, value: /seen}}]
    backendRefs: [{name: app, port: 9080}]
  - name: all
    filters: [{type: RequestMirror, requestMirror: {backendRef: {name: shadow, port: 9080}, compare: true}}]
    backendRefs: [{name: app, port: 9080}]
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    source = tmp_path_factory.mktemp("source") / "shop"
    source.mkdir()
    (source / "app.py").write_text(APPLICATION)
    (source / "shop.yaml").write_text(MANIFEST)
    with running(source, tmp_path_factory.mktemp("up")) as started:
        started.ready()
        yield started


def ask(up: Up, path: str, body: bytes = b"", host: str = "app.shop.localhost") -> tuple[int, bytes, float]:
    """Status, body, seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=30)
    try:
        began = time.monotonic()
        connection.request("POST" if body else "GET", path, body or None, {"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read(), time.monotonic() - began
    finally:
        connection.close()


def told(up: Up, rule: str) -> dict[str, Any]:
    """What `/mirror` of the way in says of a rule."""
    connection = http.client.HTTPConnection("127.0.0.1", up.proxy("way-in")["ports"]["admin"], timeout=10)
    try:
        connection.request("GET", "/mirror")
        mirrors = json.loads(connection.getresponse().read())["mirrors"]
    finally:
        connection.close()
    found: dict[str, Any] = next((one for one in mirrors if one["rule"] == rule), {"copies": {}, "compared": {}})
    return found


def copies(up: Up, path: str) -> list[list[Any]]:
    """What the shadow has seen of a path."""
    return [one for one in json.loads(ask(up, "/seen", host="shadow.shop.localhost")[1]) if one[1] == path]


@pytest.mark.parametrize("path", ["/fine/1", "/slow/1", "/cut/1", "/big/1", "/gone/1", "/differs/1"])
@pytest.mark.parametrize("body", [b"", b"x" * 50_000], ids=["GET", "POST"])
def test_the_original_never_notices(up: Up, path: str, body: bytes) -> None:
    for _ in range(10):
        status, answer, seconds = ask(up, path, body)
        assert (status, answer) == (200, b"answer to " + path.encode() + body)
        assert seconds < 5, "the slow shadow takes 20"


def test_copies_arrive_whole_and_marked(up: Up) -> None:
    ask(up, "/fine/whole", b"y" * 65_536)
    up.until(lambda: bool(copies(up, "/fine/whole")), "the copy arrives")
    assert copies(up, "/fine/whole") == [["POST", "/fine/whole", "shop/app/all", 65_536]]


def test_what_is_too_large_is_not_copied(up: Up) -> None:
    before = told(up, "all")["copies"].get("too_large", 0)
    assert ask(up, "/fine/large", b"z" * 65_537)[0] == 200
    assert told(up, "all")["copies"]["too_large"] == before + 1
    assert copies(up, "/fine/large") == []


def test_the_share_is_exact(up: Up) -> None:
    for _ in range(50):
        assert ask(up, "/some")[0] == 200
    up.until(lambda: told(up, "some")["copies"].get("answered", 0) == 10, "a fifth is copied")
    assert len(copies(up, "/some")) == 10


def test_nobody_there_is_told(up: Up) -> None:
    assert ask(up, "/gone")[0] == 200
    up.until(lambda: told(up, "gone")["copies"].get("no_endpoints", 0) > 0, "nobody to ask")


def test_differences_are_counted_and_told_without_secrets(up: Up) -> None:
    before = told(up, "all")
    for _ in range(3):
        ask(up, "/differs/now?token=secret")
        ask(up, "/fine/now")

    def grown(what: str) -> int:
        return int(told(up, "all")["compared"][what] - before["compared"].get(what, 0))

    up.until(lambda: grown("different") >= 3 and grown("same") >= 3, "all are compared")
    sample = told(up, "all")["samples"][-1]
    assert (sample["path"], sample["body"]["mirror"]) == ("/differs/now", 5)
    assert "secret" not in json.dumps(told(up, "all"))


def test_all_proxies_are_asked_by_one_command(up: Up) -> None:
    ask(up, "/differs/command")
    command = [str(SIDEWINDER), "mirrors", "app", "-n", "shop", "--state", str(up.state)]

    def says() -> str:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout

    up.until(lambda: "GET /differs/command  body, " in says(), "the sample is shown")
    ended = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1, "an answer differs"
    seen = json.loads(ended.stdout)
    assert (seen["proxies"], seen["silent"]) == (3, {})
    assert {one["rule"] for one in seen["mirrors"]} == {"some", "gone", "all"}
