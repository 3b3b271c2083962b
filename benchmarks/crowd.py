"""`make bench-crowd`: does it cost a request more that there are a thousand endpoints, a hundred of them ejected?

Sidewinder and Envoy with everything of the scenario `resilience` but active checks, each twice, in one run, a round
each in turn: one calls three endpoints of a version, the other a thousand of it, of which a hundred refuse connections
until they are ejected. Every endpoint has an address of its own in 127.0.0.0/8, so a pool, a breaker and an average of
its own; nginx serves all that live. Asked for: the CPU per request as a part of Envoy's changes by less than 5 % from
the one to the other. What each of them pays more is told as well: a connection that is used once in a while is colder,
for the kernel and for the processor's caches, than one of three in constant use, whoever holds it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import resilient
import subjects
import yaml
from measure import Broken, Round, wrk

from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot import upstreams

FEW, MANY, DEAD = 3, 1000, 100
LEAST = 95  # of the dead: one may be half-open just now, or not have been asked often enough
ASKED = 0.05
CONNECTIONS = 32
WARM_SECONDS, MOST_WARM = 3, 20  # who is dead is found out when an average has faded: 10 s
KEPT_SECONDS = 60  # without a request, between two rounds; Envoy's is an hour
LIMIT = 10_000  # connections: a thousand would be one for each endpoint, and every second one take another's place
VERSION = "bench/v1:80"


class One(NamedTuple):
    """A proxy that runs, and how many endpoints it leaves alone now."""

    subject: subjects.Subject
    ejected: Callable[[], int]


def main() -> int:
    """Rounds of all four in turn; 1 when it costs more than is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    if missing := subjects.missing():
        print("not installed: " + ", ".join(missing), file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name, subjects.backends(folder := Path(name)):
        return tell(measured(folder, options.rounds, options.seconds))


def tell(results: dict[tuple[str, int], list[Round]]) -> int:
    """The figures; 1 when they are not what is asked for."""
    for (name, count), rounds in results.items():
        middle = statistics.median(one.cpu_us for one in rounds)
        print(f"{name:10} {count:4} {middle:7.1f} us CPU/request  {rounds[-1].memory_mb:6.1f} MB")
    for name in STARTS:
        print(f"{name}: {share(results[name, MANY], results[name, FEW]) - 1:+.1%} CPU with the thousand")
    few, many = (share(results["sidewinder", count], results["envoy", count]) for count in (FEW, MANY))
    good = many / few - 1 < ASKED
    print(f"of Envoy's: {few:.2f} with three, {many:.2f} with the thousand, {many / few - 1:+.1%}; ", end="")
    print(f"load average {os.getloadavg()[0]:.1f}; {'as asked for' if good else f'NOT as asked for: {ASKED:.0%}'}")
    return 0 if good else 1


def share(rounds: list[Round], others: list[Round]) -> float:
    """The median of what each round's CPU is of the other's beside it: a slow minute hits both."""
    return statistics.median(one.cpu_us / other.cpu_us for one, other in zip(rounds, others, strict=True))


def measured(folder: Path, rounds: int, seconds: float) -> dict[tuple[str, int], list[Round]]:
    """CPU and memory of every round, by subject and endpoints."""
    running: dict[tuple[str, int], One] = {}
    nginx, port = backend(folder)
    try:
        for count in (FEW, MANY):
            for name, start in STARTS.items():
                running[name, count] = start(count, folder, port)
        for (_, count), one in running.items():
            warm(one, LEAST if count == MANY else 0)
        results: dict[tuple[str, int], list[Round]] = {key: [] for key in running}
        for number in range(rounds):
            for (name, count), one in running.items():
                results[name, count].append(load(one.subject, seconds))
                print(f"{number + 1}/{rounds} {name:10} {count:4} {results[name, count][-1]}", flush=True)
        for (name, count), one in running.items():
            if count == MANY and one.ejected() < LEAST:
                raise RuntimeError(f"{name} has ejected {one.ejected()}: nothing was measured")
        return results
    finally:
        for subject in (*(one.subject for one in running.values()), nginx):
            subject.stop()


def load(subject: subjects.Subject, seconds: float) -> Round:
    """As the scenario asks."""
    return wrk(subject.url + "/api/1k", subject.processes, seconds, CONNECTIONS, "-H", "user-agent: bench/1")


def warm(one: One, least: int) -> None:
    """Load until the dead are found out. Some requests meet only such at first, however often they are retried."""
    for _ in range(MOST_WARM):
        with contextlib.suppress(Broken):
            load(one.subject, WARM_SECONDS)
            if one.ejected() >= least:
                return
    raise RuntimeError(f"{one.subject.name} has ejected {one.ejected()} endpoints of {DEAD} that are dead")


def addresses(count: int) -> list[str]:
    """One for each endpoint. Of a thousand each tenth is dead."""
    alive = [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(MANY)]
    return alive if count == MANY else [alive[number] for number in range(1, count + 1)]


def backend(folder: Path) -> tuple[subjects.Subject, int]:
    """nginx at every address that lives, and its port."""
    port = subjects.free_port()
    head, _, tail = (subjects.PEERS / "backend.conf").read_text().partition("server {")
    living = [address for number, address in enumerate(addresses(MANY)) if number % (MANY // DEAD)]
    listens = " ".join(f"listen {address}:{port};" for address in ("127.0.0.1", *living))
    text = f"{head}server {{ {listens} root{tail.partition(' root')[2]}"
    (folder / "crowd.conf").write_text(text.replace("@folder@", str(folder)).replace("backend.pid", "crowd.pid"))
    handle = subjects.spawn(["nginx", "-p", str(folder), "-c", str(folder / "crowd.conf")], folder, "crowd")
    subjects.ready(handle, port, folder)
    return subjects.Subject("backend", "", (handle,)), port


def sidewinder(count: int, folder: Path, backend_port: int) -> One:
    """The sidecar as shipped, its configuration from a file."""
    port, door = subjects.free_port(), subjects.free_port()
    file = folder / f"{port}-snapshot.json"
    bodies = {name: msgspec.Raw(snapshot.encode(body)) for name, body in mesh(count, port, backend_port).items()}
    file.write_bytes(msgspec.json.encode(bodies))
    environment = {
        "SIDEWINDER_SNAPSHOT": str(file),
        "SIDEWINDER_PROBE_PORT": "0",
        "SIDEWINDER_ADMIN_PORT": str(door),
        "SIDEWINDER_LIMIT_UPSTREAM_IDLE_SECONDS": str(KEPT_SECONDS),
        "PYTHONPATH": "",  # what is installed beside the interpreter
        "SIDEWINDER_ACCESS_LOG": "/dev/null",
    }
    command = [str(subjects.PYTHON.parent / "sidewinder-sidecar")]
    handle = subjects.spawn(command, folder, f"sidewinder-{count}", environment)
    subjects.ready(handle, port, folder)
    found = subjects.Subject("sidewinder", f"http://127.0.0.1:{port}", (handle,))
    return One(found, lambda: sum(len(one["open"]) for one in json.loads(page(door, "/breakers"))["backends"]))


def mesh(count: int, port: int, backend_port: int) -> snapshot.Snapshot:
    """What the scenario `resilience` says, with so many endpoints of one version and one of the other."""
    made = dict(resilient.change(subjects.mesh("features", port), backend_port))
    for name, chosen in ((VERSION, addresses(count)), ("bench/v2:80", ["127.0.0.1"])):
        made[f"endpoints/{name}"] = upstreams.EndpointsSpec(
            name=name,
            endpoints=tuple(upstreams.EndpointSpec(uid=one, address=one, port=backend_port) for one in chosen),
        )
    called = made[f"backend/{VERSION}"]
    whole = upstreams.LimitsSpec(requests=1000, pending=1000, connections=LIMIT)
    limits = msgspec.structs.replace(called.concurrency, whole=whole)  # type: ignore[union-attr]
    made[f"backend/{VERSION}"] = msgspec.structs.replace(called, concurrency=limits)
    del made["checks/self"]  # they would find the dead before any breaker does
    return made


def envoy(count: int, folder: Path, backend_port: int) -> One:
    """Envoy with the configuration of the scenario `resilience`, with other endpoints, and an admin port."""
    port, door = subjects.free_port(), subjects.free_port()
    ports = subjects.Ports(backend_port, subjects._PORTS[-1].sink)
    config = yaml.safe_load(Path(subjects.fill("envoy-resilience.yaml", folder, port, ports)).read_text())
    for cluster in config["static_resources"]["clusters"]:
        cluster.pop("health_checks", None)
        if (name := cluster["name"]) in ("v1", "v2"):
            hosts = addresses(count) if name == "v1" else ["127.0.0.1"]
            lines = [{"endpoint": {"address": socket(host, backend_port)}} for host in hosts]
            cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": lines}]
            for limits in cluster["circuit_breakers"]["thresholds"]:
                limits["max_connections"] = LIMIT
            # It has no probe: whoever comes back is asked by everybody, and callers see that it is dead.
            cluster["outlier_detection"] |= {"base_ejection_time": "3600s", "max_ejection_time": "3600s"}
    config["admin"] = {"address": socket("127.0.0.1", door)}
    file = folder / f"{port}-crowd.yaml"
    file.write_text(yaml.safe_dump(config))
    command = [subjects.envoy() or "envoy", "-c", str(file), "--concurrency", "1", "--disable-hot-restart"]
    handle = subjects.spawn([*command, "-l", "error"], folder, f"envoy-{count}")
    subjects.ready(handle, port, folder)
    found = subjects.Subject("envoy", f"http://127.0.0.1:{port}", (handle,))
    return One(found, lambda: page(door, "/clusters").count(b"/failed_outlier_check"))


def socket(host: str, port: int) -> dict[str, Any]:
    """An address as Envoy has it."""
    return {"socket_address": {"address": host, "port_value": port}}


def page(door: int, path: str) -> bytes:
    """What a proxy says of itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{door}{path}", timeout=5) as answer:
        told: bytes = answer.read()
    return told


STARTS: dict[str, Callable[[int, Path, int], One]] = {"sidewinder": sidewinder, "envoy": envoy}

if __name__ == "__main__":
    sys.exit(main())
