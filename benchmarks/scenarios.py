"""What is asked of each subject. Called by bench.

`plain`: 1 KB GET over 32 kept connections. `features`: the same with all that a mesh configures. `connections`: 64 of
them.
`reconnect`: a new connection for every request. `download`, `upload`: 1 MB. `idle`: 1 000 connections that did one
request.
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

from measure import Round, cpu_seconds, memory_mb, wrk

Load = Callable[[str, int, float], Round]
UPLOAD = Path(__file__).parent / "upload.lua"
IDLE_CONNECTIONS = 1000


class Scenario(NamedTuple):
    """`load(url, pid, seconds)` runs it once."""

    name: str
    load: Load
    features: bool = False
    seconds: float = 3


def plain(url: str, pid: int, seconds: float) -> Round:
    """1 KB over 32 kept connections."""
    return wrk(url + "/api/1k", pid, seconds, 32)


def features(url: str, pid: int, seconds: float) -> Round:
    """The same through the all-features configuration, as a traced caller would ask."""
    return wrk(url + "/api/1k", pid, seconds, 32, "-H", "user-agent: bench/1", "-H", "accept: */*")


def connections(url: str, pid: int, seconds: float) -> Round:
    """Twice the connections."""
    return wrk(url + "/api/1k", pid, seconds, 64)


def reconnect(url: str, pid: int, seconds: float) -> Round:
    """A new connection for every request; the ports in TIME-WAIT bound how long."""
    return wrk(url + "/api/1k", pid, min(seconds, 2), 32, "-H", "connection: close")


def download(url: str, pid: int, seconds: float) -> Round:
    """1 MB down over 8 connections."""
    return wrk(url + "/api/1m", pid, seconds, 8)


def upload(url: str, pid: int, seconds: float) -> Round:
    """1 MB up over 8 connections; the backend reads it to its end and then answers."""
    return wrk(url + "/upload", pid, seconds, 8, "-s", str(UPLOAD))


def idle(url: str, pid: int, _: float) -> Round:
    """One request on each of 1 000 connections, which then stay: the memory is what counts."""
    host = urllib.parse.urlsplit(url).netloc
    before, times = cpu_seconds(pid), []
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE_CONNECTIONS):
            connection = http.client.HTTPConnection(host, timeout=10)
            stack.callback(connection.close)
            started = time.perf_counter()
            connection.request("GET", "/api/1k")
            if (answer := connection.getresponse()).status != 200 or len(answer.read()) != 1024:
                raise RuntimeError(f"{url} answered {answer.status}")
            times.append((time.perf_counter() - started) * 1000)
        used = cpu_seconds(pid) - before
        held = memory_mb(pid)
    cuts = statistics.quantiles(times, n=100)
    return Round(IDLE_CONNECTIONS, used / IDLE_CONNECTIONS * 1e6, held, cuts[49], cuts[98])


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("plain", plain),
        Scenario("features", features, features=True),
        Scenario("connections", connections),
        Scenario("reconnect", reconnect),
        Scenario("download", download),
        Scenario("upload", upload),
        Scenario("idle", idle),
    )
}
