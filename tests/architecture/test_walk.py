"""The walk budget: what one warm exchange costs in files, crossings and calls, over the real protocols on both sides.

Only the transports are not real. A crossing is a call from a function of one file to a function of another. Not
counted: filters with what they ask (there is one crossing for each, and it is theirs), and the vocabulary (`messages`,
`fields`), which is data and not a level. No task, no timer, no logger call: there is not even a loop here.

The sketch of this path, with a lax codec in two files and without wire, needed 12 files and 20 crossings. The strict
one reads heads in three files and writes in three; that is the difference, and it must not become more.

Run as a script it measures: `python tests/architecture/test_walk.py`.
"""

from __future__ import annotations

import collections
import gc
import pathlib
import sys
import time

import pytest

import sidewinder_sidecar
from sidewinder_sidecar.downstream import http1 as downstream
from sidewinder_sidecar.downstream.listener import Listener
from sidewinder_sidecar.exchange import Proxy
from sidewinder_sidecar.fleet import Fleet
from sidewinder_sidecar.plan import build
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot import KINDS
from sidewinder_sidecar.snapshot.filters import FieldValue, RequestHeaders, ResponseHeaders
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.routes import MatchSpec, PrefixPath, RetrySpec, RouteSpec, RuleSpec, WeightedBackend
from sidewinder_sidecar.snapshot.services import ServiceSpec
from sidewinder_sidecar.snapshot.upstreams import BackendSpec, EndpointSpec, EndpointsSpec
from sidewinder_sidecar.upstream import http1 as upstream
from sidewinder_sidecar.upstream.endpoint import Endpoint
from sidewinder_sidecar.wheel import Wheel
from sidewinder_sidecar.wire import OPEN

ROOT = str(pathlib.Path(sidewinder_sidecar.__file__).parent) + "/"
ASK = b"GET /api/items?x=2 HTTP/1.1\r\nHost: reviews:9080\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"

FILES = 15
CROSSINGS = 26
CALLS = 41
FILTERS = ("filters/", "telemetry/trace.py")
VOCABULARY = ("messages.py", "fields.py")
FEATURES = (
    RequestHeaders(set=(FieldValue(name="x-a", value="1"),)),
    ResponseHeaders(set=(FieldValue(name="x-b", value="2"),)),
)


class Transport:
    """Takes what is written; `on_write` is the peer."""

    def __init__(self, peer: str, on_write=None) -> None:
        self.peer = peer
        self.on_write = on_write
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written = data
        if self.on_write is not None:
            self.on_write()

    def get_extra_info(self, name: str, default=None):
        return (self.peer, 40000) if name == "peername" else default

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def set_write_buffer_limits(self, high: int) -> None: ...


class Way:
    """A proxy with one connection on either side; `go` is one exchange."""

    def __init__(self, features: bool = False, filters: tuple = (), record=lambda call: None) -> None:
        self.armed = 0
        self.wheel = Wheel(time.monotonic, self._arm)
        limits = Limits()
        self.endpoints = []
        fleet = Fleet(self.wheel, lambda spec, timeout: self._make(Endpoint(spec, limits, self.wheel, timeout)))
        self.proxy = Proxy(fleet, self.wheel, record, limits)
        self.proxy.adopt(self._plan(fleet, features, filters))
        self.wheel.at(time.monotonic() + 1e9, self)  # as under load, it turns already
        for endpoint in self.endpoints:
            self._connect(endpoint)
        self.down = downstream.Connection(Listener(self.proxy, "out", "127.0.0.1", 15001))
        self.transport = Transport("10.0.0.9")
        self.down.connection_made(self.transport)
        self.armed = 0

    def on_time(self, now: float) -> None: ...

    def _arm(self, seconds: float, call) -> None:
        self.armed += 1

    def _make(self, endpoint: Endpoint) -> Endpoint:
        self.endpoints.append(endpoint)
        return endpoint

    def _connect(self, endpoint: Endpoint) -> None:
        connection = upstream.Connection(endpoint, None)
        connection.transport = Transport("10.0.0.1", lambda: connection.data_received(ANSWER))
        connection.wired = OPEN
        endpoint.idle.append(connection)

    def _plan(self, fleet: Fleet, features: bool, filters: tuple):
        backends = ("v1", "v2") if features else ("v1",)
        shares = tuple(WeightedBackend(backend=name, weight=9 if name == "v1" else 1) for name in backends)
        options = {"retry": RetrySpec(codes=(502, 503)), "request_timeout": 2.0, "backend_timeout": 0.5}
        rules = (
            RuleSpec(name="other", matches=(MatchSpec(path=PrefixPath("/other")),), backends=shares),
            RuleSpec(name="all", backends=shares, filters=filters, **(options if features else {})),
        )
        resources = [
            ListenerSpec(name="out", direction="Outbound", address="127.0.0.1", port=15001),
            ServiceSpec(name="s:9080", namespace="n", port=9080, domains=("reviews",), routes=("n/r",)),
            RouteSpec(name="n/r", rules=rules),
        ]
        for name in backends:
            address = EndpointSpec(uid=name, address="10.0.0.1", port=9080)
            resources += [BackendSpec(name=name, endpoints=name), EndpointsSpec(name=name, endpoints=(address,))]
        snapshot = {f"{KINDS[type(body)]}/{body.name}": body for body in resources}
        snapshot["proxy/self"] = ProxySpec(name="walk", namespace="n", trace_percent=0.0)
        steps = build(snapshot, fleet)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return done.value

    def go(self) -> None:
        self.down.data_received(ASK)


def walk(run):
    """Every call into the package during run(): (caller's file, callee's file, function)."""
    steps = []

    def watch(frame, event, _):
        if event != "call" or not frame.f_code.co_filename.startswith(ROOT):
            return
        caller = frame.f_back
        while caller and not caller.f_code.co_filename.startswith(ROOT):
            caller = caller.f_back
        here = frame.f_code.co_filename.removeprefix(ROOT)
        there = caller.f_code.co_filename.removeprefix(ROOT) if caller else None
        steps.append((there, here, frame.f_code.co_name))

    sys.setprofile(watch)
    try:
        run()
    finally:
        sys.setprofile(None)
    return steps


def budgeted(steps):
    """What counts: see the module."""
    return [
        (there, here, name)
        for there, here, name in steps
        if here not in VOCABULARY and not here.startswith(FILTERS) and not (there or "").startswith(FILTERS)
    ]


@pytest.mark.parametrize("features", [False, True])
def test_one_exchange_stays_within_its_walk(features):
    way = Way(features, FEATURES if features else ())
    for _ in range(25):
        way.go()
    steps = budgeted(walk(way.go))
    crossings = [step for step in steps if step[0] != step[1]]
    more = 2 if features else 0  # split and deadline
    assert way.transport.written.endswith(b"hello")
    assert len({here for _, here, _ in steps}) <= FILES + more, sorted({here for _, here, _ in steps})
    assert len(crossings) <= CROSSINGS + more, crossings
    assert len(steps) <= CALLS + 5 * more


def test_no_timer_no_log_and_nothing_left():
    way = Way(True, FEATURES)
    way.go()
    way.armed = 0
    seen = set()
    sys.setprofile(lambda frame, event, _: seen.add(frame.f_code.co_filename))
    try:
        for _ in range(10):
            way.go()
    finally:
        sys.setprofile(None)
    assert way.armed == 0
    assert not {name for name in seen if "logging" in name or "asyncio" in name}
    assert not way.proxy.running
    assert len(way.wheel) == 2  # the one that keeps it turning, the caller's idle time
    assert all(endpoint.active == 0 and len(endpoint.idle) == 1 for endpoint in way.endpoints)


def test_an_exchange_is_freed_without_the_collector():
    way = Way(True, FEATURES)
    for _ in range(50):
        way.go()
    gc.collect()
    gc.disable()
    try:
        for _ in range(200):
            way.go()
        assert gc.collect() < 20
    finally:
        gc.enable()


def measure(way: Way, rounds: int = 7, count: int = 10000) -> float:
    """Microseconds of CPU an exchange, the best of some rounds."""
    best = 1e9
    for _ in range(rounds):
        begun = time.process_time()
        for _ in range(count):
            way.go()
        best = min(best, (time.process_time() - begun) / count * 1e6)
    return best


if __name__ == "__main__":
    for name, way in (("plain", Way()), ("features", Way(True, FEATURES))):
        for _ in range(2000):
            way.go()
        steps = walk(way.go)
        crossings = [step for step in steps if step[0] != step[1]]
        files = collections.Counter(here for _, here, _ in steps)
        print(f"{name}: {measure(way):.2f} us, {len(steps)} calls, {len(crossings)} crossings, {len(files)} files")
        print("  " + "\n  ".join(f"{a or '-'} -> {b}:{c}" for a, b, c in steps))
