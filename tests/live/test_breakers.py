"""One of three endpoints fails: it is ejected without a caller noticing, and comes back by exactly one request."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.local_mesh import EXAMPLES, SIDEWINDER, running
from tests.support.operator import operator
from tests.support.sidecar import Backend, Sidecar, Snapshot, backend, raw, sidecar, snapshot

pytestmark = pytest.mark.live

SERVICE = "shop/reviews:9080"
AT_ONCE = 200  # requests that find one endpoint half-open
RETRY = {"attempts": 2, "codes": [503], "conditions": ["ConnectFailure"], "methods": ["GET"], "backoff": 0.01}


def told(*upstreams: Backend, **policies: Any) -> Snapshot:
    """The service with an endpoint for each, and retries."""
    made = snapshot(upstreams[0].port, retry=RETRY)
    made[f"endpoints/{SERVICE}"]["endpoints"] = [
        {"uid": str(number), "address": "127.0.0.1", "port": one.port} for number, one in enumerate(upstreams)
    ]
    made[f"backend/{SERVICE}"].update(policies)
    return made


def opened(proxy: Sidecar) -> list[dict[str, Any]]:
    [row] = proxy.ask(proxy.port("admin"), "/breakers").json()["backends"]
    found: list[dict[str, Any]] = row["open"]
    return found


def test_ejected_probed_by_one_and_back(tmp_path: Path) -> None:
    with backend() as bad, backend() as good, backend() as other:
        for one in (good, other):
            one.release.set()
        bad.status = lambda path: 503
        breaker = {"consecutive": 3, "open_seconds": 1.0, "max_open_seconds": 1.0}
        with sidecar(tmp_path, told(bad, good, other, breaker=breaker)) as proxy:
            port = proxy.ready()
            answers = [proxy.ask(port, "/").status for _ in range(60)]
            assert answers == [200] * 60, "retries have saved what it cost to find out"
            assert len(bad.asked) <= 3 + 2, "three failures, and a probe for each second that has passed"
            [row] = opened(proxy)
            assert (row["endpoint"], row["uid"]) == (f"127.0.0.1:{bad.port}", "0")
            assert "503" in row["why"]
            assert 'sidewinder_breaker_open{backend="shop/reviews:9080"' in proxy.metrics()
            bad.status = lambda path: 200
            proxy.wait(lambda: opened(proxy)[0]["state"] == "half-open")
            before = len(bad.asked)
            with ThreadPoolExecutor(AT_ONCE) as pool:
                asked = [pool.submit(proxy.ask, port, "/slow") for _ in range(AT_ONCE)]
                proxy.wait(lambda: sum(one.done() for one in asked) == AT_ONCE - 1)
                assert len(bad.asked) == before + 1, "the probe, and nobody else while it runs"
                bad.release.set()
                assert {one.result().status for one in asked} == {200}
            proxy.wait(lambda: not opened(proxy))
            for _ in range(60):
                assert proxy.ask(port, "/").status == 200
            assert len(bad.asked) > before + 1, "it has its share again"


def test_without_retries_too_a_probe_that_fails_costs_nobody(tmp_path: Path) -> None:
    with backend() as bad, backend() as good, backend() as other:
        bad.status = lambda path: 503
        made = told(bad, good, other, breaker={"consecutive": 1, "open_seconds": 0.1, "max_open_seconds": 0.1})
        del made["route/shop/reviews"]["rules"][0]["retry"]
        with sidecar(tmp_path, made) as proxy:
            port = proxy.ready()
            proxy.wait(lambda: proxy.ask(port, "/").status == 503)
            began, statuses = len(bad.asked), Counter[int]()
            while len(bad.asked) < began + 5:  # probes
                statuses[proxy.ask(port, "/").status] += 1
            assert set(statuses) == {200}


def test_who_sends_slowly_has_nobody_ejected(tmp_path: Path) -> None:
    with backend() as one, backend() as other:
        made = told(one, other, breaker={"consecutive": 1, "open_seconds": 60.0, "max_open_seconds": 60.0})
        made["route/shop/reviews"]["rules"][0] |= {"retry": {"attempts": 0}, "backend_timeout": 0.3}
        with sidecar(tmp_path, made) as proxy:
            port = proxy.ready()
            head = b"PUT / HTTP/1.1\r\nHost: reviews\r\nContent-Length: 100\r\n\r\n12345"
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _: raw(port, head), range(8)))
            assert all(answer.startswith(b"HTTP/1.1 504 ") for answer in answers)
            assert opened(proxy) == []
            assert proxy.ask(port, "/slow", "PUT", b"12345").status == 504
            [row] = opened(proxy)
            assert row["why"] == "1 failures in a row, the last one try_timeout"


def test_the_operator_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "d.sock")
    with (
        backend() as bad,
        backend() as good,
        operator(path) as up,
        sidecar(tmp_path, DISCOVERY=f"unix:{path}") as proxy,
    ):
        bad.status = lambda path: 503
        made = told(bad, good, breaker={"consecutive": 1, "open_seconds": 60.0, "max_open_seconds": 60.0})
        up.publish(made)
        port = proxy.ready()
        proxy.wait(lambda: proxy.ask(port, "/").status == 200 and opened(proxy))
        made["proxy/self"]["trace_percent"] = 1.0

        def heard() -> bool:  # what came before an answer is read with it
            up.publish(made)
            return bool(up.line is not None and up.line.seen)

        proxy.wait(heard)
        assert up.line is not None
        [row] = up.line.seen[0][SERVICE]
        assert (row.endpoint, row.state) == (f"127.0.0.1:{bad.port}", "open")
        assert 47 <= row.until - row.since <= 61, "60 s, less a fifth at most"


POLICY = """
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: breaks, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: quotes}]
  circuitBreaker: {consecutiveFailures: 2, openDuration: 1m}
"""


def test_the_command_says_which_endpoint_of_a_running_up_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "retries"
    shutil.copytree(EXAMPLES / "retries", folder)
    (folder / "policy.yaml").write_text(POLICY)
    with running("retries", tmp_path) as up:
        up.ready()
        assert {up.get("quotes.shop.localhost", "/steady").status for _ in range(10)} == {200}
        once = [up.get("quotes.shop.localhost", "/once").status for _ in range(10)]
        assert once == [200] * 10, "the broken one is ejected: without retries, too, nobody meets it"
        command = [str(SIDEWINDER), "breakers", "quotes", "-n", "shop", "--state", str(up.state), "-o", "json"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert answer.returncode == 1, answer.stderr
        seen = json.loads(answer.stdout)
        assert seen["silent"] == {}
        [row] = seen["open"]
        assert (row["backend"], row["state"], row["seen"]) == ("shop/quotes:80", "open", 1)
        assert "2 failures in a row, the last one 503" in row["why"]


def test_what_is_over_a_limit_is_refused_at_once(tmp_path: Path) -> None:
    with backend() as app:
        limits = {"whole": {"requests": 2}}
        with sidecar(tmp_path, told(app, concurrency=limits)) as proxy, ThreadPoolExecutor(2) as pool:
            port = proxy.ready()
            running = [pool.submit(proxy.ask, port, "/slow") for _ in range(2)]
            proxy.wait(lambda: len(app.asked) == 2)
            refused = proxy.ask(port, "/")
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert "2 requests to shop/reviews run already" in refused.headers["proxy-status"]
            app.release.set()
            assert [one.result().status for one in running] == [200, 200]
            assert proxy.ask(port, "/").status == 200
            text = proxy.metrics()
            assert 'sidewinder_concurrency_refused_total{backend="shop/reviews:9080",limit="requests"} 1\n' in text
