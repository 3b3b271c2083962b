"""What is asked of each subject. Called by bench.

`plain`: 1 KB GET over 32 kept connections. `features`: the same with all that a mesh configures. `resilience`: with
breakers, limits, checks and what else keeps a service up on top of it. `connections`: 64 of them.
`reconnect`: a new connection for every request. `download`, `upload`: 1 MB. `idle`: 1 000 connections that did one
request.
`mtls`: 64 kept connections through two proxies that speak mutual TLS to each other. `mtls-new`: a new mTLS connection
for every request, at the serving proxy. `jwt`: `plain` with a token that is verified.
"""

from __future__ import annotations

import contextlib
import http.client
import statistics
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import credentials
from measure import Pids, Round, cpu_seconds, memory_mb, wrk
from newcomers import newcomers

Load = Callable[[str, Pids, float], Round]
UPLOAD = Path(__file__).parent / "upload.lua"
IDLE_CONNECTIONS = 1000


class Scenario(NamedTuple):
    """`load(url, pids, seconds)` runs it once, on subjects that are configured as `kind`: those that can be."""

    name: str
    load: Load
    kind: str = "plain"
    seconds: float = 3
    subjects: tuple[str, ...] = ("sidewinder", "envoy", "nginx", "haproxy")


def plain(url: str, pids: Pids, seconds: float) -> Round:
    """1 KB over 32 kept connections."""
    return wrk(url + "/api/1k", pids, seconds, 32)


def features(url: str, pids: Pids, seconds: float) -> Round:
    """The same through the all-features configuration, as a traced caller would ask."""
    return wrk(url + "/api/1k", pids, seconds, 32, "-H", "user-agent: bench/1", "-H", "accept: */*")


def connections(url: str, pids: Pids, seconds: float) -> Round:
    """Twice the connections."""
    return wrk(url + "/api/1k", pids, seconds, 64)


def reconnect(url: str, pids: Pids, seconds: float) -> Round:
    """A new connection for every request; the ports in TIME-WAIT bound how long."""
    return wrk(url + "/api/1k", pids, min(seconds, 2), 32, "-H", "connection: close")


def download(url: str, pids: Pids, seconds: float) -> Round:
    """1 MB down over 8 connections."""
    return wrk(url + "/api/1m", pids, seconds, 8)


def upload(url: str, pids: Pids, seconds: float) -> Round:
    """1 MB up over 8 connections; the backend reads it to its end and then answers."""
    return wrk(url + "/upload", pids, seconds, 8, "-s", str(UPLOAD))


def idle(url: str, pids: Pids, _: float) -> Round:
    """One request on each of 1 000 connections, which then stay: the memory is what counts."""
    host = urllib.parse.urlsplit(url).netloc
    before, times = cpu_seconds(pids), []
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE_CONNECTIONS):
            connection = http.client.HTTPConnection(host, timeout=10)
            stack.callback(connection.close)
            started = time.perf_counter()
            connection.request("GET", "/api/1k")
            if (answer := connection.getresponse()).status != 200 or len(answer.read()) != 1024:
                raise RuntimeError(f"{url} answered {answer.status}")
            times.append((time.perf_counter() - started) * 1000)
        used = cpu_seconds(pids) - before
        held = memory_mb(pids)
    cuts = statistics.quantiles(times, n=100)
    return Round(IDLE_CONNECTIONS, used / IDLE_CONNECTIONS * 1e6, held, cuts[49], cuts[98])


def jwt(url: str, pids: Pids, seconds: float) -> Round:
    """The same RS256 token with each request: verified once, known afterwards. Both have a cache for that."""
    return wrk(url + "/api/1k", pids, seconds, 32, "-H", f"authorization: Bearer {credentials.token()}")


MESHES = ("sidewinder", "envoy")  # who ends mTLS, verifies tokens and ejects by configuration alone

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("plain", plain),
        Scenario("features", features, kind="features"),
        Scenario("resilience", features, kind="resilience", subjects=MESHES),
        Scenario("connections", connections),
        Scenario("reconnect", reconnect),
        Scenario("download", download),
        Scenario("upload", upload),
        Scenario("idle", idle),
        Scenario("mtls", connections, kind="mtls", subjects=MESHES),
        Scenario("mtls-new", newcomers, kind="inbound", subjects=MESHES),
        Scenario("jwt", jwt, kind="jwt", subjects=MESHES),
    )
}
