"""Pods leave while what takes long runs: nothing is lost, though the application ends as soon as it is told to."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.bed.waiting import until
from tests.cluster.support.cluster import Cluster
from tests.cluster.support.mesh import Mesh
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.traffic import Load

pytestmark = pytest.mark.cluster

SIDEWINDER = Path(sys.executable).with_name("sidewinder")
BACKEND = "http://backend/"
# Seconds. Pods leave in the midst of it, once others are there; they hold out for 25 s, for conversations half of it.
DOWNLOAD_SECONDS, CONVERSATION_SECONDS = 20, 12

# One download of a known length, or a conversation over WebSocket whose every word must come back.
DOWNLOAD = f"""
import http.client, json, sys
say = lambda word: sys.stdout.write(f"{{word}}\\n") and sys.stdout.flush()  # whole lines, of six at once
talk = http.client.HTTPConnection("backend", timeout=30)
talk.request("GET", "/?size=500000&drip={DOWNLOAD_SECONDS}")
answer = talk.getresponse()
say("begun" if answer.status == 200 else answer.read())
say(len(json.loads(answer.read())["padding"]))
"""
CONVERSATION = f"""
import asyncio, sys
from apps import http1, websocket
say = lambda word: sys.stdout.write(f"{{word}}\\n") and sys.stdout.flush()
async def talk():
    reader, writer = await asyncio.open_connection("backend", 80)
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    fields = [("Host", "backend"), ("Connection", "Upgrade"), ("Upgrade", "websocket"),
              ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key)]
    writer.write(http1.encode("GET /talk HTTP/1.1", fields))
    answer = await http1.read_response(reader)
    say("begun" if answer.start[1] == "101" else answer)
    back = 0
    for number in range({CONVERSATION_SECONDS} * 5):
        writer.write(websocket.frame(websocket.TEXT, b"%d" % number, client=True))
        back += (await websocket.read_frame(reader))[1] == b"%d" % number
        await asyncio.sleep(0.2)
    say(back)
asyncio.run(talk())
"""
WHOLE = {"download": "500000", "conversation": str(CONVERSATION_SECONDS * 5)}  # bytes and words
EACH = 6  # clients of each kind
# Every pod of the old version goes at once, before one of the new is there.
AT_ONCE = {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "100%"}}}}


@pytest.fixture
def shop(mesh: Mesh, injected: Namespace) -> Namespace:
    """A backend of two replicas; what is retried are the defaults: nothing that an application may have begun."""
    injected.apply("shop.yaml", retry="{attempts: 2, conditions: [ConnectFailure, ResetBeforeRequest]}")
    injected.wait_for("Deployment/backend")
    mesh.live("backend", injected.name)
    return injected


@contextmanager
def talking(space: Namespace, image: str) -> Iterator[None]:
    """Clients of each kind, in the middle of it when the block begins; all of them come to their ends."""
    programs = {"download": DOWNLOAD, "conversation": CONVERSATION}
    for kind, program in programs.items():
        all_at_once = f"import concurrent.futures as f, subprocess, sys\nprogram = {program!r}\n" + (
            "run = lambda _: subprocess.run([sys.executable, '-c', program], stderr=2).returncode\n"
            f"with f.ThreadPoolExecutor({EACH}) as pool: sys.exit(any(pool.map(run, range({EACH}))))\n"
        )
        container = {"name": "client", "image": image, "command": ["python3", "-c", all_at_once]}
        spec = {"restartPolicy": "Never", "containers": [container]}
        space.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": kind}, "spec": spec})
    for kind in programs:
        space.wait_for(f"Pod/{kind}")
        until(f"each {kind} has begun", lambda kind=kind: said(space, kind).count("begun") == EACH, 60, 0.2)
    yield
    for kind in programs:
        space.wait_for(f"Pod/{kind}", lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"))
        ended = [line for line in said(space, kind) if line != "begun"]
        assert ended == [WHOLE[kind]] * EACH


def said(space: Namespace, pod: str) -> list[str]:
    return space.logs(pod, "client").splitlines()


def drains(cluster: Cluster, space: Namespace) -> list[dict[str, Any]]:
    """What `sidewinder drains` tells of the backend's pods."""
    command = [SIDEWINDER, "drains", "-o", "json"]
    done = subprocess.run(command, env=cluster.environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1), done.stderr
    return [one for one in json.loads(done.stdout) if f"{space.name}/backend-" in one["who"]]


def names(space: Namespace) -> set[str]:
    """Every pod of the backend, those on their way out included."""
    pods = space.objects.list("Pod", space.name, label_selector="app=backend")
    return {str(pod["metadata"]["name"]) for pod in pods}


def test_a_rollout_loses_no_download_and_no_conversation(
    cluster: Cluster, shop: Namespace, images: Callable[[str], str]
) -> None:
    """Kept connections beside them: GETs and POSTs."""
    before = names(shop)
    kept = Load(shop, "kept", {"url": BACKEND, "rate": 40, "concurrency": 4}, {})
    post = Load(shop, "post", {"url": BACKEND, "rate": 20, "concurrency": 2, "method": "POST", "body_bytes": 2000}, {})
    with kept, post:
        with talking(shop, images("apps")):
            cluster.kubectl("set", "env", "deployment/backend", "VERSION=v2", "-n", shop)
        cluster.kubectl("rollout", "status", "deployment/backend", "-n", shop, "--timeout=120s", seconds=130)
        until("the old pods have gone", lambda: not before & names(shop), 60, 0.2)
    for load in (kept, post):
        assert load.result is not None
        load.result.assert_no_failures()
        assert set(load.result.versions) == {"v1", "v2"}
    until("their drains are told", lambda: len(drains(cluster, shop)) == len(before), 20, 0.5)
    for one in drains(cluster, shop):
        report = one["report"]
        assert report["retired"] > 0, "everybody had acknowledged that it goes"
        assert (report["cut_requests"], report["cut_connections"]) == (0, 0), one
    assert max(one["report"]["leaving"] for one in drains(cluster, shop)) > 2, "its application has finished what ran"


def test_a_scale_to_zero_and_back(mesh: Mesh, cluster: Cluster, shop: Namespace) -> None:
    """With nobody left a caller is told so at once; with somebody it is served again, by the same proxies."""
    client = {"name": "client", "image": "$apps_image", "command": ["sleep", "infinity"]}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [client]}
    shop.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": spec}))
    shop.wait_for("Pod/client")

    def ask() -> str:
        done = shop.try_in_pod("client", "python3", "-m", "apps", "get", BACKEND)
        return done.out or done.err

    assert '"version": "v1"' in ask()
    job = {"url": BACKEND, "rate": 40, "concurrency": 4, "statuses": ["200", "503"], "echo": False}
    with Load(shop, "meanwhile", job, {}) as load:
        cluster.kubectl("scale", "deployment/backend", "--replicas=0", "-n", shop)
        until("nobody is left", lambda: not names(shop), 60, 0.2)
        assert "status 503" in ask()
        cluster.kubectl("scale", "deployment/backend", "--replicas=2", "-n", shop)
        shop.wait_for("Deployment/backend")
        until("it is served again", lambda: '"version": "v1"' in ask(), 20, 0.2)
    assert load.result is not None
    assert set(load.result.status) == {"200", "503"}, "an answer in any case"
    assert load.result.latency_ms["max"] < 5000


@pytest.mark.parametrize("replicas", [1, 3])
def test_pods_that_leave_all_at_once_serve_until_others_are_ready(
    cluster: Cluster, shop: Namespace, replicas: int
) -> None:
    """As with `Recreate`: the last resort of the Service are those who leave. Nothing fails, POSTs neither."""
    cluster.kubectl("patch", "deployment/backend", "-n", shop, "-p", json.dumps(AT_ONCE))
    cluster.kubectl("scale", "deployment/backend", f"--replicas={replicas}", "-n", shop)
    shop.wait_for("Deployment/backend")
    until("the others have gone", lambda: len(names(shop)) == replicas, 60, 0.2)
    before = names(shop)
    told = len(drains(cluster, shop))
    get = Load(shop, "get", {"url": BACKEND, "rate": 40, "concurrency": 4}, {})
    post = Load(shop, "post", {"url": BACKEND, "rate": 20, "concurrency": 2, "method": "POST", "body_bytes": 2000}, {})
    with get, post:
        cluster.kubectl("set", "env", "deployment/backend", "VERSION=v2", "-n", shop)
        cluster.kubectl("rollout", "status", "deployment/backend", "-n", shop, "--timeout=120s", seconds=130)
        until("the old pods have gone", lambda: not before & names(shop), 60, 0.2)
    for load in (get, post):
        assert load.result is not None
        print(load.result.summary)
        load.result.assert_no_failures()
        assert set(load.result.versions) == {"v1", "v2"}
    until("their drains are told", lambda: len(drains(cluster, shop)) == told + len(before), 20, 0.5)
    waited = [each for one in drains(cluster, shop)[told:] for each in one["held"]]
    assert f"it is the last resort of {shop.name}/backend:80" in waited


def test_a_service_that_nobody_calls_is_scaled_to_zero_in_seconds(cluster: Cluster, shop: Namespace) -> None:
    """Its last pods wait for callers, and for no longer than it takes to see that none comes."""
    cluster.kubectl("scale", "deployment/backend", "--replicas=0", "-n", shop)
    began = time.monotonic()
    until("nobody is left", lambda: not names(shop), 60, 0.2)
    took = time.monotonic() - began
    print(f"scaled to zero in {took:.1f} s")
    assert took < 5 + 8, "the quiet time, and what the kubelet needs"
