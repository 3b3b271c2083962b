"""One pod of three gets ill under load: who leaves it alone, how that is seen, how it comes back; no request fails."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.bed.waiting import BedError, until
from tests.cluster.support.cluster import Cluster
from tests.cluster.support.mesh import ENABLED, Mesh
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.traffic import Load

pytestmark = pytest.mark.cluster

SIDEWINDER = Path(sys.executable).with_name("sidewinder")
VERSION = "sidewinder.dev/v1alpha1"
GET = ("python3", "-m", "apps", "get")
KEPT_OPEN = 8  # seconds, the first time; up to a fifth is taken off
STATUS_SECONDS = 20  # an object's status is written every ten seconds while only this changes
CALLERS = 2  # pods that call; all others only know how to
PROBERS = 3  # who check an endpoint, however many could call it


@pytest.fixture(scope="module")
def space(mesh: Mesh, namespaces: Callable[..., Namespace]) -> Iterator[Namespace]:
    """The workloads of resilience.yaml: seven pods with a proxy, each of which could check or call the backend."""
    with namespaces("resilience", ENABLED) as fresh:
        fresh.apply("resilience.yaml", kept_open=f"{KEPT_OPEN}s")
        for name in ("backend", "caller"):
            fresh.wait_for(f"Deployment/{name}", seconds=120)
        mesh.live("backend", fresh.name)
        yield fresh


@contextmanager
def loads(space: Namespace, name: str) -> Iterator[list[str]]:
    """Requests for /work from two pods, whose names these are; none of them may fail."""
    job = {"url": "http://backend/work", "rate": 40, "concurrency": 2}
    running = {f"{name}-{number}": Load(space, f"{name}-{number}", job, {}) for number in range(CALLERS)}
    with ExitStack() as stack:
        for load in running.values():
            stack.enter_context(load)
        yield list(running)
    for load in running.values():
        assert load.result is not None
        load.result.assert_no_failures()


def answer(space: Namespace, pod: str, url: str) -> Any:
    """What this URL tells the application's container of a pod. Raises OSError while there is no answer."""
    try:
        return json.loads(space.run_in_pod(pod, *GET, url, container=_application(pod)))
    except BedError as error:
        raise OSError(str(error)) from error


def _application(pod: str) -> str:
    kind = pod.partition("-")[0]
    return {"backend": "echo", "caller": "client"}.get(kind, "load")


def asked(space: Namespace, pod: str, path: str) -> int:
    """How often the application of this pod was asked for a path."""
    counts: dict[str, int] = answer(space, pod, "http://127.0.0.1:8080/count")["asked"]
    return counts.get(path, 0)


@contextmanager
def ill(space: Namespace, pod: str, path: str) -> Iterator[None]:
    """The application of this pod answers requests for a path with 503; all others as before."""
    wishes = json.dumps({path: {"status": "503"}})
    space.run_in_pod(pod, "sh", "-c", f"echo '{wishes}' > /tmp/wishes", container="echo")
    try:
        yield
    finally:
        space.run_in_pod(pod, "sh", "-c", "rm /tmp/wishes", container="echo")


def breakers(space: Namespace, callers: list[str]) -> list[dict[str, Any]]:
    """What the callers' proxies have open, one for each that has."""
    pages = [answer(space, pod, "http://127.0.0.1:15000/breakers") for pod in callers]
    return [found for page in pages for backend in page["backends"] for found in backend["open"]]


def shown(space: Namespace, *words: str) -> tuple[int, str]:
    """What `sidewinder breakers` exits with and prints."""
    command = [SIDEWINDER, "breakers", "backend", "--namespace", space.name, *words]
    done = subprocess.run(command, env=space.cluster.environment(), capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def ejected(space: Namespace) -> list[dict[str, Any]]:
    """What the policy's status says."""
    found: list[dict[str, Any]] = space.get("ApiPolicy/backend", VERSION)["status"].get("ejected") or []
    return found


def seconds(date: str) -> float:
    return dt.datetime.fromisoformat(date).timestamp()


def one_of(space: Namespace) -> tuple[str, str]:
    """A pod of the backend, and its endpoint."""
    pod, *_ = space.pods("app=backend")
    return pod["metadata"]["name"], f"{pod['status']['podIP']}:8080"


def changed(cluster: Cluster, mesh: Mesh, space: Namespace) -> None:
    """A policy and a route that say something else, and an endpoint more: in force everywhere when this returns."""
    policy = json.dumps({"spec": {"concurrency": {"maxRequests": 500}}})
    cluster.kubectl("patch", "apipolicy", "backend", "-n", space, "--type=merge", "-p", policy)
    timeouts = json.dumps([{"op": "add", "path": "/spec/rules/0/timeouts", "value": {"request": "20s"}}])
    cluster.kubectl("patch", "apiroute", "backend", "-n", space, "--type=json", "-p", timeouts)
    cluster.kubectl("scale", "deployment/backend", "--replicas=4", "-n", space)
    for kind in ("apipolicy", "apiroute"):
        words = ("wait", "--for=condition=Programmed", f"{kind}/backend", "-n", space, "--timeout=30s")
        cluster.kubectl(*words)
    space.wait_for("Deployment/backend")


def test_a_failing_pod_is_left_alone_told_of_and_taken_back(mesh: Mesh, cluster: Cluster, space: Namespace) -> None:
    pod, endpoint = one_of(space)
    with loads(space, "breaking") as callers:
        until("the pod is called", lambda: asked(space, pod, "/work") > 20, 30, 0.2)
        began = time.time()
        with ill(space, pod, "/work"):
            until("both have ejected it", lambda: _times(space, callers) == [1, 1], 30, 0.2)
            before = asked(space, pod, "/work")
            _is_told(space, endpoint, began)
            until("each has tried it again", lambda: min(_times(space, callers)) > 1, 4 * KEPT_OPEN, 0.2)
            opened, tried = _tries(space, pod, callers)
            assert tried - before == sum(one["times"] - 1 for one in opened), "one request for each time"
            changed(cluster, mesh, space)
            still, tried = _tries(space, pod, callers)
            assert [one["since"] for one in still] == [one["since"] for one in opened], "what changes gives no chance"
            assert tried - before == sum(one["times"] - 1 for one in still)
        until("it is called again", lambda: asked(space, pod, "/work") > before + 30, 4 * KEPT_OPEN, 0.5)
        assert breakers(space, callers) == []
        until("the status says so", lambda: ejected(space) == [], STATUS_SECONDS, 0.5)
        assert shown(space)[0] == 0


def _tries(space: Namespace, pod: str, callers: list[str]) -> tuple[list[dict[str, Any]], int]:
    """The open breakers, and how often the pod was asked, of one moment."""
    for _ in range(5):
        opened, count = breakers(space, callers), asked(space, pod, "/work")
        if breakers(space, callers) == opened and all(one["state"] == "open" for one in opened):
            return opened, count
    raise AssertionError("it is tried all the time")


def _times(space: Namespace, callers: list[str]) -> list[int]:
    return [found["times"] for found in breakers(space, callers)]


def _is_told(space: Namespace, endpoint: str, began: float) -> None:
    """By the object's status and by the command, while both have it open."""
    until("the status says so", lambda: [row["proxies"] for row in ejected(space)] == [CALLERS], STATUS_SECONDS, 0.2)
    (row,) = ejected(space)
    assert (row["endpoint"], row["state"]) == (endpoint, "open")
    assert "503" in row["reason"]
    assert began - 1 <= seconds(row["since"]) <= time.time() + 1
    assert 0.8 * KEPT_OPEN - 1 <= seconds(row["until"]) - seconds(row["since"]) <= 4 * KEPT_OPEN
    code, said = shown(space, "-o", "json")
    (open_,) = json.loads(said)["open"]
    assert (code, open_["endpoint"], open_["seen"]) == (1, endpoint, CALLERS)
    code, said = shown(space)
    assert code == 1
    assert endpoint in said
    assert "503" in said


def checks(mesh: Mesh, space: Namespace, endpoint: str) -> dict[str, dict[str, Any]]:
    """Which pods check this endpoint, and what they think of it."""
    pods = [pod["metadata"]["name"] for pod in mesh.proxies(space.name) if pod["status"]["phase"] == "Running"]
    pages = {pod: answer(space, pod, "http://127.0.0.1:15000/health-checks") for pod in pods}
    return {pod: check for pod, page in pages.items() for check in page["checks"] if check["address"] == endpoint}


def test_three_check_a_pod_and_all_callers_heed_them(mesh: Mesh, space: Namespace) -> None:
    pod, endpoint = one_of(space)
    with loads(space, "checking") as callers:
        until("it is checked", lambda: len(checks(mesh, space, endpoint)) == PROBERS, 30, 0.5)
        assert pod not in checks(mesh, space, endpoint), "not by its own proxy"
        begin, first = time.monotonic(), asked(space, pod, "/well")
        until("it was asked", lambda: asked(space, pod, "/well") >= first + 10, 20, 0.5)
        count, took = asked(space, pod, "/well") - first, time.monotonic() - begin
        assert count <= PROBERS * (took * 1.1 + 1), "one a second from each"
        with ill(space, pod, "/well"):
            until("no caller uses it", lambda: all(unwell(space, each) == [endpoint] for each in callers), 20, 0.2)
            before, sent = asked(space, pod, "/work"), served(space)
            until("others are called", lambda: served(space) > sent + 60, 20, 0.2)
            assert asked(space, pod, "/work") == before
            assert breakers(space, callers) == [], "nobody's own request has found it out"
            why = [check["why"] for check in checks(mesh, space, endpoint).values() if check["verdict"] == "unhealthy"]
            assert len(why) >= 2
            assert "503" in why[0]
        until("it is called again", lambda: asked(space, pod, "/work") > before + 20, 20, 0.2)
        assert all(unwell(space, each) == [] for each in callers)


def served(space: Namespace) -> int:
    """Requests that all pods together were sent."""
    return sum(asked(space, pod["metadata"]["name"], "/work") for pod in space.pods("app=backend"))


def unwell(space: Namespace, pod: str) -> list[str]:
    """The endpoints that this pod's proxy was told to leave alone."""
    page = answer(space, pod, "http://127.0.0.1:15000/config")
    found = [
        f"{each['address']}:{each['port']}"
        for name, body in page["resources"].items()
        if name.startswith("endpoints/")
        for each in body["endpoints"]
        if each.get("healthy") is False
    ]
    return sorted(set(found))
