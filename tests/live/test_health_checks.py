"""Active checks in a running mesh: who is unwell gets nothing new, though his answers are good, and comes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local_mesh import Up, running

pytestmark = pytest.mark.live

APP = """
import http.server, os, pathlib

PORT = os.environ["PORT"]
SICK = pathlib.Path("sick")


class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status = 200
        if self.path == "/healthz":
            sick = SICK.exists() and PORT in SICK.read_text().split()
            known = self.headers["user-agent"] == "sidewinder-health" and self.headers["host"] == "web.shop:80"
            status = 503 if sick or not known else 200
        body = PORT.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(PORT)), App).serve_forever()
"""
MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {command: [python3, app.py], replicas: 4}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: strict, namespace: shop}
spec: {targetRefs: [{kind: Namespace}], mtls: {mode: Strict}}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: health, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: web}]
  healthCheck: {type: HTTP, http: {path: /healthz}, interval: 1s, timeout: 1s, unhealthyThreshold: 2}
"""
CLOSED = """
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: closed, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: web}]
  authorization: {rules: [{name: way-in, action: Allow, from: [{namespaces: [sidewinder-system]}]}]}
"""
HOST = "web.shop.localhost"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    source = tmp_path_factory.mktemp("source") / "shop"
    source.mkdir()
    (source / "app.py").write_text(APP)
    (source / "shop.yaml").write_text(MANIFEST)
    with running(source, tmp_path_factory.mktemp("up")) as one:
        one.ready()
        yield one


def answering(up: Up) -> Counter[str]:
    """Who answers how many of 40 requests."""
    return Counter(up.get(HOST).body.decode() for _ in range(40))


def sick(up: Up, *ports: str) -> None:
    file: Path = up.folder / "sick"
    file.write_text(" ".join(ports))


def verdicts(up: Up) -> Counter[str]:
    """What all probers say, together."""
    found: Counter[str] = Counter()
    for proxy in up.status()["proxies"]:
        if proxy["name"].startswith("web"):
            checks = up.get("localhost", "/health-checks", port=proxy["ports"]["admin"]).json()["checks"]
            found.update(check["verdict"] for check in checks)
    return found


def test_who_is_unwell_gets_nothing_and_comes_back(up: Up) -> None:
    up.until(lambda: verdicts(up) == Counter(healthy=12), "each of four has three probers, who find it well")
    everybody = answering(up)
    assert len(everybody) == 4
    bad = next(iter(everybody))
    sick(up, bad)
    up.until(lambda: bad not in answering(up), "the endpoint that is unwell gets nothing new")
    assert verdicts(up)["unhealthy"] >= 2
    sick(up)
    up.until(lambda: bad in answering(up), "it has its share again")


def test_when_too_few_are_well_all_are_used(up: Up) -> None:
    everybody = list(answering(up))
    assert len(everybody) == 4
    sick(up, *everybody)
    up.until(lambda: verdicts(up) == Counter(unhealthy=12), "nobody is well")
    assert len(answering(up)) == 4, "panic: all rather than none"
    sick(up)
    up.until(lambda: verdicts(up) == Counter(healthy=12), "all are well again")


def test_what_a_policy_refuses_says_nothing_of_the_application(up: Up) -> None:
    file: Path = up.folder / "closed.yaml"
    file.write_text(CLOSED)
    up.until(lambda: verdicts(up) == Counter(unknown=12), "no prober may ask")
    assert len(answering(up)) == 4
    file.unlink()
    up.until(lambda: verdicts(up) == Counter(healthy=12), "they may again")
