"""`make bench-routes`: what 10 000 routes cost. A real process's parts in one interpreter, fed over a real stream.

1. The price of one match from 10 to 10 000 routes, for each kind of match. Asked for: within 10 %.
2. Ten new snapshots of 10 000 routes of each kind (TURNS), through discovery, build, swap, keeping and freeing: the
   longest time for which the loop was held. 10 ms of CPU time of its thread are asked for of every one; the time on
   the wall is told beside. Other work on the machine blurs the one through the caches, the other by all that it takes.

`python benchmarks/routes.py held COUNT KIND…` writes the figures of the second table alone, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvloop

from sidewinder_sidecar.main import memory
from sidewinder_sidecar.main.process import Process
from sidewinder_sidecar.messages import Call
from sidewinder_sidecar.settings import read
from sidewinder_sidecar.snapshot import Resource, decode, stream
from tests.support.discovery import Line, Server, transaction
from tests.support.routing import asked, exact, match, prefix, regex, router

COUNTS = (10, 100, 1_000, 10_000)
ROUNDS = 15  # the smallest of so many counts: noise only adds
CALLS = 5_000  # matches of one round: 5 ms, well above the clock's grain
ROUTES = 10_000
CHANGES = 10  # snapshots of each kind
PAUSE_SECONDS = 1.0  # between snapshots
MATCHES = [{"path": {"type": "PathPrefix", "value": "/v1"}}, {"path": {"type": "Exact", "value": "/"}}]
HELD_MS = 10.0
WITHIN = 1.10
WAIT_SECONDS = 60.0  # for one snapshot

KINDS: dict[str, tuple[Callable[[int], list[Any]], bytes]] = {
    "exact": (lambda n: [match(exact(f"/svc{n}/items"))], b"/svc5/items"),
    "prefix": (lambda n: [match(prefix(f"/svc{n}"))], b"/svc5/items/1"),
    "expression": (lambda n: [match(regex(f"/svc{n}/[a-z]+"))], b"/svc5/items"),
    "header": (lambda n: [match(prefix("/"), headers={"x-tenant": str(n)})], b"/items"),
}


def price(find: Callable[[Call], object], call: Call) -> float:
    """Nanoseconds of one match."""
    best = float("inf")
    for _ in range(ROUNDS):
        before = time.thread_time_ns()
        for _ in range(CALLS):
            find(call)
        best = min(best, (time.thread_time_ns() - before) / CALLS)
    return best


def matches() -> bool:
    """The first table."""
    print("one match, ns" + "".join(f"{count:>10}" for count in COUNTS) + f"{'growth':>10}")
    good = True
    for kind, (make, target) in KINDS.items():
        call = asked(target, (b"x-tenant", b"5"))
        costs = [price(router(*[make(n) for n in range(count)]).match, call) for count in COUNTS]
        growth = costs[-1] / costs[0]
        good = good and growth <= WITHIN
        print(f"{kind:<13}" + "".join(f"{cost:>10.0f}" for cost in costs) + f"{growth - 1:>+10.1%}")
    return good


def mesh(routes: int, mark: str, place: str = "shop", block: int = 10) -> dict[str, Resource]:
    """As many routes, each of a service of its own, in namespace `place`, with endpoints in `block`.0.0.0/8."""
    made: dict[str, Any] = {
        "proxy/self": {"name": "bench", "namespace": "shop"},
        "listener/in": {"name": "in", "direction": "Outbound", "address": "127.0.0.1", "port": 0},
    }
    for number in range(routes):
        name = f"{place}/s{number}:80"
        made[f"service/{name}"] = {
            "name": name, "namespace": place, "port": 80, "domains": [f"s{number}", f"s{number}.{place}"],
            "routes": [f"{place}/s{number}"], "backend": name,
        }  # fmt: skip
        made[f"route/{place}/s{number}"] = {
            "name": f"{place}/s{number}",
            "rules": [{"name": mark, "backends": [{"backend": name, "weight": 9}], "matches": MATCHES}],
        }  # fmt: skip
        made[f"backend/{name}"] = {"name": name, "endpoints": name}
        one = {"uid": f"p{number}", "address": f"{block}.{number >> 8}.{number & 255}.1", "port": 80}
        made[f"endpoints/{name}"] = {"name": name, "endpoints": [one]}
    return {name: decode(name, stream.msgspec.json.encode(body)) for name, body in made.items()}


# what is new → the next picture, of so many routes, for the n-th time; what differs is sent
Turn = Callable[[dict[str, Resource], int, int], dict[str, Resource]]
TURNS: dict[str, Turn] = {
    "every route": lambda was, routes, n: was | only("route/", mesh(routes, f"{n}")),
    "one route": lambda was, routes, n: was | only("route/", mesh(1, f"one {n}")),
    "every endpoint": lambda was, routes, n: was | only("endpoints/", mesh(routes, "", block=11 + n)),
    "everything": lambda was, routes, n: mesh(routes, "", f"place{n}"),
}


def only(kind: str, picture: dict[str, Resource]) -> dict[str, Resource]:
    """The resources of one kind."""
    return {name: body for name, body in picture.items() if name.startswith(kind)}


class Heart:
    """Beats once per turn of the loop; keeps the longest turns, in CPU time and on the wall."""

    def __init__(self) -> None:
        self.longest = (0.0, 0.0)
        self.beating = True
        self._last = (time.thread_time(), time.perf_counter())
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._beat)

    def _beat(self) -> None:
        now = (time.thread_time(), time.perf_counter())
        self.longest = (max(self.longest[0], now[0] - self._last[0]), max(self.longest[1], now[1] - self._last[1]))
        self._last = now
        if self.beating:
            self._loop.call_soon(self._beat)

    def take(self) -> tuple[float, float]:
        """Milliseconds of the longest turns since the last question."""
        longest, self.longest = self.longest, (0.0, 0.0)
        return longest[0] * 1000, longest[1] * 1000


async def publish(path: str, routes: int, changes: int, kinds: Sequence[str]) -> None:
    """The operator, in a process of its own: one picture after the other, each once the one before is acknowledged."""
    over = asyncio.Event()

    async def script(line: Line) -> None:
        await line.begin()
        await line.hear()
        picture: dict[str, Resource] = {}
        turns = [
            lambda was, routes, n: mesh(routes, "first"),
            *(TURNS[kind] for kind in kinds for _ in range(changes)),
        ]
        for number, turn in enumerate(turns, 1):
            following = turn(picture, routes, number)
            sent = {name for name, body in following.items() if picture.get(name) != body}
            lines = transaction(number, following, *(picture.keys() - following.keys()), only=sent)
            picture = following
            await asyncio.sleep(PAUSE_SECONDS)
            line.say(*lines, pieces=65536)
            while not isinstance(answer := await line.hear(), stream.Ack):
                assert isinstance(answer, stream.Ping), answer  # we were busy with the next picture
        over.set()
        await line.gone()

    server = Server(script)
    await server.open(path)
    await asyncio.wait_for(over.wait(), WAIT_SECONDS * changes)
    await server.close()


async def swaps(routes: int, folder: Path, kinds: Sequence[str], changes: int) -> dict[str, list[tuple[float, float]]]:
    """For each kind, how long each of so many snapshots held the loop at most: milliseconds of CPU, and on the wall."""
    path = folder / "d.sock"
    publisher = subprocess.Popen(  # noqa: ASYNC220 (before anything is measured)
        [sys.executable, __file__, "publish", str(path), str(routes), str(changes), *kinds],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    environment = {
        "DISCOVERY": f"unix:{path}", "KEEP": str(folder / "kept"), "PROBE_PORT": "0", "ADMIN_PORT": "0",
        "PROBE_ADDRESS": "127.0.0.1", "ACCESS_LOG": "off", "LOG_LEVEL": "error",
    }  # fmt: skip
    process = Process(read({f"SIDEWINDER_{name}": value for name, value in environment.items()}))
    running = asyncio.create_task(process.run())
    heart = Heart()
    logging.disable()  # a stream that is not there yet, or no more, is no news here
    held: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    try:
        await applied(process, 1)
        for number, kind in enumerate(kind for kind in kinds for _ in range(changes)):
            heart.take()
            await applied(process, 2 + number)
            held[kind].append(heart.take())
    finally:
        logging.disable(logging.NOTSET)
        heart.beating = False
        process.leave.set()
        await running
        publisher.wait(WAIT_SECONDS)
    return held


def holds(held: dict[str, list[tuple[float, float]]]) -> bool:
    """The second table."""
    print(f"\n{f'of {ROUTES} routes':<20}{'held, CPU ms: most':>20}{'median':>9}{'wall ms: most':>17}{'median':>9}")
    for kind, times in held.items():
        cpu, wall = (sorted(one) for one in zip(*times, strict=True))
        middle = len(cpu) // 2
        print(f"{kind:<20}{cpu[-1]:>20.1f}{cpu[middle]:>9.1f}{wall[-1]:>17.1f}{wall[middle]:>9.1f}")
    return all(cpu <= HELD_MS for times in held.values() for cpu, _ in times)


async def applied(process: Process, count: int) -> None:
    """Wait until so many have been applied, and what was replaced is freed."""
    until = time.monotonic() + WAIT_SECONDS
    while process.configuration.applied < count:
        assert time.monotonic() < until, "the snapshot was not applied"
        await asyncio.sleep(0.01)
    await asyncio.sleep(PAUSE_SECONDS * 0.8)


def main() -> int:
    """Both tables; 1 when a figure is not what is asked for."""
    words = sys.argv[1:]
    if words[:1] == ["publish"]:
        asyncio.run(publish(words[1], int(words[2]), int(words[3]), words[4:]))
        return 0
    memory.tune()
    if words[:1] == ["held"]:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(uvloop.run(swaps(ROUTES, Path(folder), words[2:], int(words[1])))))
        return 0
    good = matches()
    with tempfile.TemporaryDirectory() as folder:
        good = holds(uvloop.run(swaps(ROUTES, Path(folder), list(TURNS), CHANGES))) and good
    print(f"\nload average {os.getloadavg()[0]:.1f}; ", end="")
    print("as asked for" if good else f"NOT as asked for: growth {WITHIN - 1:.0%}, held {HELD_MS:g} ms")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
