"""`make bench-discovery`: apply → last acknowledgement, with 1 000 Services and 2 000 sidecars, and what it costs.

A cluster of one node (the test bed), a real operator process against its real API server, real discovery clients over
mTLS. Times are from before the request to the API server until the last client that it concerns acknowledges; they
include the API server, its watch, the operator's debounce of 100 ms, and the clients' own work on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import os
import random
import resource
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks.scale import world
from sidewinder_operator.apiserver import FAILURES, ApiServer
from tests.cluster.bed import bed as testbed
from tests.cluster.support import operator as support

ROOT = Path(__file__).parents[2]
PROCESSES = 4  # of clients
WAIT_SECONDS = 300.0
QUIET_SECONDS = 12.0  # until what came of the beginning is over, and its memory is given back
NAME = f"sidewinder-operator.{world.SYSTEM}.svc"


class Figures(NamedTuple):
    """Of one kind of change: sidecars concerned, seconds until each and until the last had it, the replica's CPU."""

    what: str
    concerned: int
    each: list[float]
    last: list[float]
    cpu: float

    def line(self) -> str:
        """A row of the table."""
        return (
            f"| {self.what} | {self.concerned} | {_ms(self.each, 50)} | {_ms(self.each, 99)} | {_ms(self.last, 50)} | "
            f"{_ms(self.last, 99)} | {self.cpu * 1000:.0f} ms |"
        )


def percentile(values: list[float], percent: float) -> float:
    """By the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))] if ordered else float("nan")


def _ms(values: list[float], percent: float) -> str:
    return f"{percentile(values, percent) * 1000:.0f} ms"


class Report(NamedTuple):
    """What came of it. Memory in MB, without clients, before the changes and after; `idle`: cores taken at rest."""

    changes: list[Figures]
    connected: float
    empty: float
    before: float
    memory: float
    idle: float

    def lines(self) -> list[str]:
        """A table, and what it does not say."""
        return [
            "| change | sidecars concerned | each, p50 | each, p99 | last, p50 | last, p99 | CPU of the replica |",
            "|---|---|---|---|---|---|---|",
            *(figures.line() for figures in self.changes),
            "",
            f"All streams were served {self.connected:.1f} s after the first connected. The replica has "
            f"{self.empty:.0f} MB without clients, {self.before:.0f} MB before the changes and {self.memory:.0f} MB "
            f"after; at rest it takes {self.idle * 100:.1f} % of a core. Load {os.getloadavg()[0]:.1f} on "
            f"{os.cpu_count()} cores.",
        ]


class Replica:
    """A real operator process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port

    @property
    def cpu(self) -> float:
        """Seconds of it so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def memory(self) -> float:
        """MB of memory that is its own (PSS)."""
        rollup = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024


@contextlib.asynccontextmanager
async def operator(kubeconfig: Path, folder: Path) -> AsyncIterator[Replica]:
    """The operator's own main, against that API server."""
    settings = support.settings(kubeconfig, folder, world.SYSTEM)
    port = _free_port()
    environment = {
        "SIDEWINDER_NAMESPACE": world.SYSTEM,
        "SIDEWINDER_POD_NAME": "bench",
        "SIDEWINDER_API_SERVER": settings.api_server,
        "SIDEWINDER_API_TOKEN_FILE": settings.api_token_file,
        "SIDEWINDER_API_AUTHORITY_FILE": settings.api_authority_file,
        "SIDEWINDER_HEALTH_ADDRESS": "127.0.0.1",
        "SIDEWINDER_HEALTH_PORT": "0",
        "SIDEWINDER_ADDRESS": "127.0.0.1",
        "SIDEWINDER_DISCOVERY_PORT": str(port),
    }
    log = (folder / "operator.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidewinder_operator.main", env={**os.environ, **environment}, stderr=log, stdout=log
    )
    try:
        yield Replica(process, port)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
        log.close()


class Crowd:
    """The processes of clients."""

    def __init__(self) -> None:
        self.processes: list[asyncio.subprocess.Process] = []
        self.told: dict[int, dict[str, Any]] = {}
        self._news = asyncio.Event()
        self._readers: list[asyncio.Task[None]] = []

    async def start(
        self, folder: Path, pods: list[world.Pod], wants: list[list[str]], secret: Any, port: int, at_once: int
    ) -> None:
        for number in range(PROCESSES):
            file = folder / f"clients-{number}.json"
            mine = [(pod.uid, pod.namespace) for pod in pods[number::PROCESSES]]
            orders = {
                "pods": mine, "wants": wants[number::PROCESSES], "secret": secret,
                "port": port, "name": NAME, "at_once": max(1, at_once // PROCESSES),
            }  # fmt: skip
            file.write_bytes(msgspec.json.encode(orders))
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "benchmarks.scale.clients", str(file), cwd=ROOT,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 22,
            )  # fmt: skip
            self.processes.append(process)
            self._readers.append(asyncio.create_task(self._read(number, process)))

    async def _read(self, number: int, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self.told[number] = msgspec.json.decode(line)
            self._news.set()

    def sum(self, field: str) -> int:
        return sum(told[field] for told in self.told.values())

    def times(self, change: world.Change) -> list[float]:
        return [at for told in self.told.values() if _is_about(told, change) for at in told["seen"]]

    async def look(self, change: world.Change) -> None:
        resource, text, _ = change
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode({"resource": resource, "text": text}) + b"\n")
            await process.stdin.drain()
        await self.until(lambda: all(_is_about(told, change) for told in self.told.values()), "the clients look")

    async def until(self, holds: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
        end = time.monotonic() + seconds
        while not holds():
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), max(0.0, end - time.monotonic()))
            except TimeoutError:
                states = [{**told, "seen": len(told["seen"])} for told in self.told.values()]
                raise SystemExit(f"after {seconds:g} s: {what}: {states}") from None

    async def stop(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
        for reader in self._readers:
            await reader


def _is_about(told: dict[str, Any], change: world.Change) -> bool:
    return (told["resource"], told["text"]) == (change.resource, change.text)


async def measure(
    crowd: Crowd, replica: Replica, what: str, rounds: int, change: Callable[[int], tuple[world.Change, int]]
) -> Figures:
    """`rounds` changes, each after the one before has reached everybody. `change`: one, and how many it concerns."""
    each: list[float] = []
    last: list[float] = []
    cpu, concerned = replica.cpu, 0
    for number in range(rounds):
        made, concerned = change(number)
        await crowd.look(made)
        began = time.monotonic()
        await made.send()
        await crowd.until(lambda: len(crowd.times(made)) >= concerned, f"{what} {number}")  # noqa: B023
        found = [at - began for at in crowd.times(made)]
        each += found
        last.append(max(found))
    return Figures(what, concerned, each, last, (replica.cpu - cpu) / rounds)


def wanted(size: world.Size, pods: list[world.Pod], wants: int, seed: int = 7) -> list[list[tuple[str, str]]]:
    """For each pod the Services elsewhere that it calls."""
    drawn, services = random.Random(seed), [*size.names()]
    return [drawn.sample([each for each in services if each[0] != pod.namespace], wants) for pod in pods]


async def run(bed: testbed.Bed, folder: Path, size: world.Size, wants: int, rounds: int, at_once: int) -> Report:
    """All of it, on a cluster that is this run's own: its controllers are stopped. `at_once`: of clients that come."""
    for component in ("kube-controller-manager", "kube-proxy", "kube-scheduler"):
        bed.component(component).stop()  # nothing here is theirs, and all of it would keep them busy
    bed.kubectl("apply", "--server-side", "-f", ROOT / "crds")
    settings = support.settings(bed.kubeconfig, folder, world.SYSTEM)
    api = ApiServer(
        settings.api_server, token_file=Path(settings.api_token_file), authority=Path(settings.api_authority_file)
    )
    crowd = Crowd()
    try:
        began = time.monotonic()
        pods = await world.fill(api, size)
        say(f"{size.services} Services and {size.pods} pods after {time.monotonic() - began:.0f} s")
        where = await world.addresses(api)
        calls = wanted(size, pods, wants)
        async with operator(bed.kubeconfig, folder) as replica:
            secret = await _secret(api, replica, folder)
            await asyncio.sleep(QUIET_SECONDS)
            empty = replica.memory
            say(f"the replica without clients: {empty:.0f} MB, {replica.cpu:.1f} s of CPU so far")
            began, cpu = time.monotonic(), replica.cpu
            await crowd.start(
                folder, pods, [[where[key] for key in each] for each in calls], secret, replica.port, at_once
            )
            await crowd.until(lambda: len(crowd.told) == PROCESSES, "the clients run")
            await crowd.until(lambda: crowd.sum("held") == size.pods, "everybody has a configuration")
            connected = time.monotonic() - began
            await crowd.until(lambda: crowd.sum("resources") >= _expected(size, wants), "everybody has what it wanted")
            say(f"CPU of the replica for that: {replica.cpu - cpu:.1f} s")
            say(f"all are served after {connected:.0f} s, with what they want after {time.monotonic() - began:.0f} s")
            found = await _figures(api, crowd, replica, size, pods, calls, rounds, connected, empty)
            await crowd.stop()  # before the operator, which they would look for
            return found
    finally:
        await crowd.stop()
        await api.close()


def _expected(size: world.Size, wants: int) -> int:
    """The resources that all clients hold at least: three a Service, at home and wanted, and six of their own."""
    return size.pods * (3 * (size.services // size.namespaces + wants) + 6)


async def _figures(
    api: ApiServer, crowd: Crowd, replica: Replica, size: world.Size, pods: list[world.Pod],
    calls: list[list[tuple[str, str]]], rounds: int, connected: float, empty: float,
) -> Report:  # fmt: skip
    def concerned(key: tuple[str, str]) -> int:
        return sum(pod.namespace == key[0] or key in each for pod, each in zip(pods, calls, strict=True))

    def route(number: int) -> tuple[world.Change, int]:
        return world.route_change(api, number, size), concerned((f"team-{number % size.namespaces}", "svc-0"))

    def endpoint(number: int) -> tuple[world.Change, int]:
        key = (f"team-{number % size.namespaces}", f"svc-{1 + number // size.namespaces}")
        return world.endpoint_change(api, number, size), concerned(key)

    await asyncio.sleep(QUIET_SECONDS)
    cpu, began, memory = replica.cpu, time.monotonic(), replica.memory
    await asyncio.sleep(10)
    idle = (replica.cpu - cpu) / (time.monotonic() - began)
    found = [
        await measure(crowd, replica, "a route", rounds, route),
        await measure(crowd, replica, "an endpoint", rounds, endpoint),
        await measure(
            crowd, replica, "a policy for the mesh", max(5, rounds // 3),
            lambda number: (world.policy_change(api, number, size), size.pods),
        ),
    ]  # fmt: skip
    return Report(found, connected, empty, memory, replica.memory, idle)


async def _secret(api: ApiServer, replica: Replica, folder: Path) -> dict[str, str]:
    """The CA that the operator has made, once it serves."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end and replica.process.returncode is None:
        with contextlib.suppress(*FAILURES):
            found = await api.get(f"/api/v1/namespaces/{world.SYSTEM}/secrets/sidewinder-ca")
            _, writer = await asyncio.open_connection("127.0.0.1", replica.port)
            writer.close()
            return {name: base64.b64decode(text).decode() for name, text in found["data"].items()}
        await asyncio.sleep(0.2)
    raise SystemExit(f"the operator does not serve: {(folder / 'operator.log').read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=2000)
    parser.add_argument("--namespaces", type=int, default=50)
    parser.add_argument("--wants", type=int, default=5, help="Services of other namespaces that each sidecar asks for")
    parser.add_argument("--rounds", type=int, default=30, help="changes of each kind")
    parser.add_argument("--at-once", type=int, default=32, help="clients that connect and are not served yet")
    given = parser.parse_args()
    if (why := testbed.impediment()) is not None:
        raise SystemExit(f"NOT RUN: no cluster can run here: {why}")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    bed = testbed.start(nodes=1, owner=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            size = world.Size(given.namespaces, given.services, given.pods)
            for line in asyncio.run(run(bed, Path(folder), size, given.wants, given.rounds, given.at_once)).lines():
                say(line)
    finally:
        bed.stop()


if __name__ == "__main__":
    main()
