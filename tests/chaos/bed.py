"""What the chaos run breaks: three echoes in processes of their own, a sidecar that calls them, load through it.

Used by `matrix` and `run`. The load and the faults of the network run in a thread with a loop of its own (`World`), so
that whoever breaks things may wait. The route retries what may be retried, each try has a quarter of a second, and the
policy is the one of the resilience manifest: endpoints that fail five times in a row are left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tests.chaos.fault_proxy import FaultProxy
from tests.chaos.load import Load
from tests.chaos.name_server import NameServer
from tests.chaos.network import Network, mortal, need
from tests.support.operator import Operator, operator
from tests.support.sidecar import PROGRAM, STARTED, Sidecar, Snapshot, snapshot

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
ENDPOINTS = 3
TRY_SECONDS = 0.25  # of one try: a request that meets a silent endpoint is answered by another one within half a second
RULE: dict[str, Any] = {
    "backend_timeout": TRY_SECONDS,
    "request_timeout": 5.0,
    "retry": {
        "attempts": 2,
        "codes": [502, 503, 504],
        "conditions": ["ConnectFailure", "ResetBeforeRequest", "Reset", "Timeout"],
    },
}

FAKETIME = f"/usr/lib/{platform.machine()}-linux-gnu/faketime/libfaketimeMT.so.1"


LEFT_BEHIND = ("bugs_total", "background_deaths_total", "requests_in_flight")


class World:
    """A loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T], seconds: float = 30.0) -> T:
        """What the work gives, done there."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    def close(self) -> None:
        self.do(_let_go())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()


async def _let_go() -> None:
    """What was aborted is closed with the next turns."""
    if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        _, late = await asyncio.wait(tasks, timeout=1.0)  # their other ends have gone: they end by themselves
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    for _ in range(3):  # a transport is closed one turn after its connection is lost, which is one after the abort
        await asyncio.sleep(0)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def host(number: int) -> str:
    """An echo's name, where they have names."""
    return f"pod-{number}.shop.test"


def until(holds: Any, what: str, seconds: float = STARTED) -> float:
    """Waits until it holds; returns how long that took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds:g} s"
        time.sleep(0.01)
    return time.monotonic() - began


class Application:
    """An echo that is killed, stopped and started again, on the same port."""

    def __init__(self, network: Network, number: int) -> None:
        self.address = network.addresses[number]
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        words = (sys.executable, "-m", "tests.cluster.apps", "echo", "--port", str(self.port))
        self._command = (*mortal(), *network.inside(number), *words)

    def start(self, reached: bool = True) -> None:
        """It answers when this returns; not so where it cannot be `reached`."""
        self.process = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.DEVNULL)
        if reached:
            until(self.answers, "an application")

    def answers(self) -> bool:
        try:
            socket.create_connection((self.address, self.port), 1).close()
        except OSError:
            return False
        return True

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """At once, as the kernel does it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)


class Wish(Protocol):
    """What a case wants of its bed."""

    @property
    def wired(self) -> bool: ...
    @property
    def settings(self) -> Mapping[str, str]: ...
    @property
    def clock(self) -> bool: ...
    @property
    def collected(self) -> bool: ...
    @property
    def operated(self) -> bool: ...
    @property
    def named(self) -> bool: ...
    @property
    def load(self) -> Mapping[str, Any]: ...
    @property
    def rate(self) -> float: ...


class Bed:
    """All of it. `ways` are the networks to the endpoints, of cases that want to break them."""

    def __init__(self, folder: Path, wish: Wish, network: Network) -> None:
        self.folder = folder
        self.wish = wish
        self.network = network
        self.world = World()
        self.applications = [Application(network, number) for number in range(ENDPOINTS)]
        self.ways: list[FaultProxy] = []
        self.collector: FaultProxy | None = None
        self.operator: Operator | None = None
        self.discovery: FaultProxy | None = None
        self.names: NameServer | None = None
        self._receiver: asyncio.Server | None = None
        self._resolving: tuple[str, ...] = ()
        self._stack = ExitStack()
        self.port = free_port()
        self.sidecar: Sidecar | None = None
        self.retried_before = 0  # by processes that are gone
        self.notes: list[str] = []
        self.mended = 0.0  # when the fault ended, where that was before its case did
        self.load: Load | None = None

    def begin(self) -> None:
        """Everything runs, load but for."""
        for one in self.applications:
            one.start(reached=False)
        if self.wish.wired:
            self.ways = [self._way(one.port, one.address) for one in self.applications]
        if self.wish.named:
            self._resolving = self.network.resolving(self.folder)
            names = NameServer({host(number): one.address for number, one in enumerate(self.applications)})
            self.world.do(names.open("127.0.0.1"))
            self.names = names
        if self.wish.collected:
            self._receiver = self.world.do(_collector())
            self.collector = self._way(self._receiver.sockets[0].getsockname()[1])
        if self.wish.operated:
            self.operator = self._stack.enter_context(operator(str(self.folder / "operator.sock")))
            self.discovery = FaultProxy(self.operator.path, path=str(self.folder / "discovery.sock"))
            self.world.do(self.discovery.open())
            self.operator.publish(self.picture())
        self.start_sidecar()
        until(lambda: all(one.answers() for one in self.applications), "the applications")
        self.load = Load(self.port, self.wish.rate, **self.wish.load)

    def _way(self, port: int, address: str = "127.0.0.1") -> FaultProxy:
        made = FaultProxy(address, port)
        self.world.do(made.open())
        return made

    def picture(self) -> Snapshot:
        """The sidecar's configuration."""
        doors = [("127.0.0.1", one.port) for one in self.ways] or [(one.address, one.port) for one in self.applications]
        made = snapshot(doors[0][1], self.port, **RULE)
        backend = next(body for name, body in made.items() if name.startswith("backend/"))
        backend["breaker"] = {}
        made[f"endpoints/{backend['endpoints']}"]["endpoints"] = [
            {"uid": f"pod-{number}", "address": host(number) if self.names else address, "port": port}
            for number, (address, port) in enumerate(doors)
        ]
        return made

    def start_sidecar(self) -> None:
        """Serves when this returns."""
        settings = {"ACCESS_LOG": "off", **self._configured(), **self.wish.settings}
        if self.collector is not None:
            settings["OTLP_ENDPOINT"] = f"http://127.0.0.1:{self.collector.port}"
        environment = {f"SIDEWINDER_{name}": value for name, value in settings.items()}
        clock = self._clock() if self.wish.clock else {}
        self.sidecar = Sidecar(self.folder, environment | clock, (*mortal(), *self._resolving, *PROGRAM))
        self.sidecar.ready()

    def _configured(self) -> dict[str, str]:
        """Where it has its configuration from."""
        if self.discovery is not None:
            return {"DISCOVERY": f"unix:{self.discovery.path}", "KEEP": str(self.folder / "kept")}
        file = self.folder / "snapshot.json"
        file.write_text(json.dumps(self.picture()))
        return {"SNAPSHOT": str(file)}

    def reconfigured(self) -> float:
        """The operator publishes something new: the seconds until it is in force. Called once in a case."""
        assert self.operator is not None
        hellos, began = self.operator.hellos, time.monotonic()
        before = self.metric("sidewinder_config_applied_total")
        changed = self.picture()
        next(body for name, body in changed.items() if name.startswith("backend/"))["connect_timeout"] = 4.0
        until(lambda: len(hellos) > 1, "another stream", 30.0)
        for _ in hellos:  # the test's operator offers one to each stream that it had, dead or alive
            self.operator.publish(changed)
        until(lambda: self.metric("sidewinder_config_applied_total") > before, "a new configuration", 30.0)
        return time.monotonic() - began

    def _clock(self) -> dict[str, str]:
        """A wall clock that `jump` sets. Raises NotRun."""
        need({FAKETIME: "faketime"})
        self.jump("+0")
        return {
            "LD_PRELOAD": FAKETIME,
            "FAKETIME_TIMESTAMP_FILE": str(self.folder / "clock"),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # as when somebody sets a machine's clock
        }

    def jump(self, seconds: str) -> None:
        """The sidecar's wall clock is that much ahead from now on."""
        beside = self.folder / "clock.new"
        beside.write_text(f"{seconds}\n")
        beside.replace(self.folder / "clock")

    @property
    def proxy(self) -> Sidecar:
        assert self.sidecar is not None
        return self.sidecar

    def kill_sidecar(self) -> None:
        self.retried_before = self.retried()
        self.mended = time.monotonic()  # from here on, it is a matter of starting it again
        self.proxy.process.kill()
        self.proxy.process.wait(10)

    def metric(self, name: str) -> float:
        """The sum over its labels."""
        lines = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", self.proxy.metrics(), re.MULTILINE)
        return sum(map(float, lines))

    def retried(self) -> int:
        """Tries beyond the first."""
        return self.retried_before + int(self.metric("sidewinder_retries_total"))

    def memory(self, what: str = "VmRSS") -> float:
        """The sidecar's, in MB."""
        text = Path(f"/proc/{self.proxy.process.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+) kB", text)[1]) / 1000  # type: ignore[index]

    def end(self) -> None:
        if self.sidecar is not None:
            self.sidecar.process.kill()
            self.sidecar.process.wait(10)
        for one in self.applications:
            with contextlib.suppress(ProcessLookupError):
                one.signal(signal.SIGCONT)
            one.kill()
        for way in (*self.ways, *filter(None, (self.collector, self.discovery))):
            self.world.do(way.close())
        if self.names is not None:
            self.world.do(self.names.close())
        if self._receiver is not None:
            self.world.loop.call_soon_threadsafe(self._receiver.close)
        self._stack.close()
        self.world.close()


async def _collector() -> asyncio.Server:
    """Takes all spans that come."""
    from tests.cluster.apps import http1

    return await asyncio.start_server(http1.answering(lambda request: http1.response(200)), "127.0.0.1", 0)


def left_behind(metric: Callable[[str], float]) -> list[str]:
    """What a sidecar that all callers have left should not show."""
    with contextlib.suppress(AssertionError):
        until(lambda: metric("sidewinder_requests_in_flight") == 0, "the last request's end", 3.0)
    shown = {name: metric(f"sidewinder_{name}") for name in LEFT_BEHIND}
    return [f"{name}: {value:g}" for name, value in shown.items() if value]


@contextmanager
def bed(folder: Path, wish: Wish, network: Network) -> Iterator[Bed]:
    """A bed that ends with the block."""
    made = Bed(folder, wish, network)
    try:
        made.begin()
        yield made
    finally:
        made.end()


def limit(pid: int, which: int, most: int) -> tuple[int, int]:
    """Give a running process another limit; returns the one that it had."""
    import resource

    hard = resource.prlimit(pid, which)[1]
    return resource.prlimit(pid, which, (most, hard))


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
