"""Faults in a running mesh: what is held, ended, asked for, and over."""

from __future__ import annotations

import http.client
import shutil
import time
from collections.abc import Iterator

import pytest

from tests.support.local_mesh import EXAMPLES, Up, running

pytestmark = pytest.mark.live

MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{port: 9080}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {command: [python3, echo.py]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: api, namespace: shop}
spec:
  parentRefs: [{kind: Service, name: api}]
  rules:
  - name: held
    matches: [{path: {type: PathPrefix, value: /held}}]
    filters: [{type: Fault, fault: {delay: {duration: 300ms, percent: 100}}}]
    backendRefs: [{name: api, port: 9080}]
  - name: ended
    matches: [{path: {type: PathPrefix, value: /ended}}]
    filters: [{type: Fault, fault: {abort: {statusCode: 503, fraction: {numerator: 3, denominator: 10}}}}]
    backendRefs: [{name: api, port: 9080}]
  - name: reset
    matches: [{path: {type: PathPrefix, value: /reset}}]
    filters: [{type: Fault, fault: {abort: {reset: true, percent: 100}}}]
    backendRefs: [{name: api, port: 9080}]
  - name: asked
    matches: [{path: {type: PathPrefix, value: /asked}}]
    filters: [{type: Fault, fault: {headers: Allow}}]
    backendRefs: [{name: api, port: 9080}]
  - name: over
    matches: [{path: {type: PathPrefix, value: /over}}]
    filters: [{type: Fault, fault: {abort: {statusCode: 500, percent: 100}, expires: "2001-01-01T00:00:00Z"}}]
    backendRefs: [{name: api, port: 9080}]
"""
HOST = "api.shop.localhost"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    source = tmp_path_factory.mktemp("source") / "shop"
    source.mkdir()
    shutil.copy(EXAMPLES / "filters" / "echo.py", source)
    (source / "shop.yaml").write_text(MANIFEST)
    with running(source, tmp_path_factory.mktemp("up"), "--access-log") as started:
        started.ready()
        yield started


def timed(up: Up, path: str, **fields: str) -> tuple[int, float]:
    began = time.monotonic()
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return up.get(HOST, path, fields=headers).status, time.monotonic() - began


def test_a_delay(up: Up) -> None:
    before = len(up.lines)
    status, seconds = timed(up, "/held")
    assert status == 200
    assert 0.3 <= seconds < 2
    assert '"status":200' in up.told("fault: delayed by 0.3 s", after=before)


def test_a_share_is_ended_and_told(up: Up) -> None:
    before = len(up.lines)
    statuses = [timed(up, "/ended")[0] for _ in range(20)]
    assert (statuses.count(503), statuses.count(200)) == (6, 14)
    line = up.told('"error":"fault"', after=before)
    assert '"flag":"FI"' in line


def test_a_reset(up: Up) -> None:
    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
        up.get(HOST, "/reset")


def test_a_request_that_asks(up: Up) -> None:
    assert timed(up, "/asked")[0] == 200
    assert timed(up, "/asked", x_sidewinder_fault_abort="418")[0] == 418
    status, seconds = timed(up, "/asked", x_sidewinder_fault_delay="200ms")
    assert status == 200
    assert seconds >= 0.2
    assert timed(up, "/asked", x_sidewinder_fault_delay="soon")[0] == 400
    for path in ("/over", "/held"):
        assert timed(up, path, x_sidewinder_fault_abort="418")[0] == 200, "nobody said that it may"


def test_what_has_expired_does_nothing(up: Up) -> None:
    assert timed(up, "/over")[0] == 200
