"""The walk budget: what one warm exchange costs in files, crossings and calls, over the real protocols on both sides.

Only the transports are not real: the recorder is, and tells metrics and access log. A crossing is a call from a
function of one file to a function of another. The common exchange is a request without a body whose answer comes in one
read, on kept connections whose heads repeat: at most 12 files and 20 crossings. What may come on top is stated here:

* a leaf that may be off costs itself: a filter with what it asks, the trace, metrics and access log (told by the
  record), the split, the deadline;
* the vocabulary (`messages`, `fields`) is data and not a level;
* a head that is not the last one again is split by httptools, in `lines`;
* an answer that comes in pieces crosses the exchange with each of them, and is framed by `sending`;
* breakers, limits and a balancer that measures are asked before a try and told after it.

No task, no timer, no logger call: there is not even a loop here. Run as a script it measures:
`python tests/architecture/test_walk.py`.
"""

from __future__ import annotations

import gc
import pathlib
import sys
import time

import msgspec
import pytest

import sidewinder_sidecar
from sidewinder_sidecar.downstream import http1 as downstream
from sidewinder_sidecar.downstream.listener import Listener
from sidewinder_sidecar.exchange import Proxy
from sidewinder_sidecar.fleet import Fleet
from sidewinder_sidecar.plan import build
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot import KINDS
from sidewinder_sidecar.snapshot.filters import Fault, FieldValue, Mirror, RequestHeaders, ResponseHeaders
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.policies import AdaptiveConcurrencySpec, PolicySpec, SizesSpec
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.routes import MatchSpec, PrefixPath, RetrySpec, RouteSpec, RuleSpec, WeightedBackend
from sidewinder_sidecar.snapshot.services import ServiceSpec
from sidewinder_sidecar.snapshot.upstreams import (
    BackendSpec,
    BreakerSpec,
    ConcurrencySpec,
    EndpointSpec,
    EndpointsSpec,
    FailureRateSpec,
    LimitsSpec,
    PeakEWMA,
)
from sidewinder_sidecar.telemetry.access_log import AccessLog
from sidewinder_sidecar.telemetry.metrics import Metrics
from sidewinder_sidecar.telemetry.record import Recorder
from sidewinder_sidecar.telemetry.writer import Writer
from sidewinder_sidecar.upstream import http1 as upstream
from sidewinder_sidecar.upstream.endpoint import Endpoint
from sidewinder_sidecar.wheel import Wheel
from sidewinder_sidecar.wire import OPEN

ROOT = str(pathlib.Path(sidewinder_sidecar.__file__).parent) + "/"
ASK = b"GET /api/items?x=2 HTTP/1.1\r\nHost: reviews:9080\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"

FILES = 12  # the architecture's
CROSSINGS = 20
CALLS = 35
LEAVES = (
    "filters/", "telemetry/trace.py", "telemetry/metrics.py", "telemetry/access_log.py", "router/split.py",
    "resilience/deadline.py",
)  # fmt: skip
VOCABULARY = ("messages.py", "fields.py")
FEATURES = (
    RequestHeaders(set=(FieldValue(name="x-a", value="1"),)),
    ResponseHeaders(set=(FieldValue(name="x-b", value="2"),)),
)


# All that keeps a service up: what the benchmark's `resilience` has.
RESILIENCE = {
    "balancing": PeakEWMA(),
    "slow_start": 10.0,
    "breaker": BreakerSpec(rate=FailureRateSpec()),
    "concurrency": ConcurrencySpec(whole=LimitsSpec(requests=100), endpoint=LimitsSpec(requests=50)),
}
COPIES_AND_FAULTS = (Mirror(backend="v2", numerator=1, denominator=1_000_000), Fault(headers=True))


def guards(resources: list) -> list:
    """The policy of the port, which its service then names."""
    (place,) = [number for number, body in enumerate(resources) if isinstance(body, ServiceSpec)]
    resources[place] = msgspec.structs.replace(resources[place], policy="p")
    sizes = SizesSpec(request_headers=16_384, request_body=10 << 20, response_body=10 << 20)
    adaptive = (AdaptiveConcurrencySpec(policy="n/p", target_latency=0.05),)
    return [PolicySpec(name="p", adaptive_concurrency=adaptive, size_limits=sizes)]


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


class Pipe(Writer):
    """Takes the access log's lines; no thread."""

    def put(self, chunk: bytes) -> bool:
        return True


class Way:
    """A proxy with one connection on either side; `go` is one exchange. `answer` comes in these reads."""

    def __init__(
        self, features: bool = False, filters: tuple = (), answer: tuple[bytes, ...] = (ANSWER,), guarded: bool = False
    ) -> None:
        self.armed = 0
        self.guarded = guarded
        self.wheel = Wheel(time.monotonic, self._arm)
        limits = Limits()
        self.endpoints = []
        fleet = Fleet(self.wheel, lambda spec, timeout: self._make(Endpoint(spec, limits, self.wheel, timeout)))
        self.answer = answer
        self.record = Recorder(Metrics(), AccessLog(Pipe(-1)))
        self.proxy = Proxy(fleet, self.wheel, self.record, limits)
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
        connection.transport = Transport("10.0.0.1", lambda: [connection.data_received(read) for read in self.answer])
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
        resources += guards(resources) if self.guarded else []
        called = RESILIENCE if self.guarded else {}
        for name in backends:
            ends = tuple(
                EndpointSpec(uid=f"{name}-{number}", address=f"10.0.0.{number}", port=9080)
                for number in range(1, 4 if self.guarded else 2)
            )
            resources += [BackendSpec(name=name, endpoints=name, **called), EndpointsSpec(name=name, endpoints=ends)]
        snapshot = {f"{KINDS[type(body)]}/{body.name}": body for body in resources}
        snapshot["proxy/self"] = ProxySpec(name="walk", namespace="n", trace_percent=0.0)
        steps = build(snapshot, fleet)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return done.value

    def go(self, ask: bytes = ASK) -> None:
        self.down.data_received(ask)


def everything() -> Way:
    """With all that keeps a service up."""
    return Way(True, FEATURES + COPIES_AND_FAULTS, guarded=True)


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
        if here not in VOCABULARY and not here.startswith(LEAVES) and not (there or "").startswith(LEAVES)
    ]


def warm(way: Way) -> Way:
    for _ in range(25):
        way.go()
    return way


def cost(way: Way, ask: bytes = ASK) -> tuple[set[str], list[tuple[str | None, str, str]], int]:
    """The files, crossings and number of calls of one exchange; others have gone before."""
    before = way.record.metrics.requests()
    steps = budgeted(walk(lambda: way.go(ask)))
    assert way.record.metrics.requests() == before + 1
    assert way.transport.written.endswith(b"lo")
    return {here for _, here, _ in steps}, [step for step in steps if step[0] != step[1]], len(steps)


@pytest.mark.parametrize("features", [False, True])
def test_one_exchange_stays_within_its_walk(features):
    files, crossings, calls = cost(warm(Way(features, FEATURES if features else ())))
    assert len(files) <= FILES, sorted(files)
    assert len(crossings) <= CROSSINGS, crossings
    assert calls <= CALLS + 8 * features


def test_what_keeps_a_service_up_costs_six_files_and_thirteen_crossings():
    way = warm(everything())
    files, crossings, calls = min(
        (cost(way) for _ in range(5)), key=lambda one: one[2]
    )  # a window ends in some of them
    assert {"observed.py", "resilience/breaker.py", "resilience/concurrency.py"} <= files
    assert len(files) <= FILES + 6, sorted(files)
    assert len(crossings) <= CROSSINGS + 13, crossings
    assert calls <= CALLS + 8 + 23


def test_a_head_that_is_not_the_last_one_again_costs_one_file_and_six_crossings():
    way = warm(Way())
    usual, crossings, _ = cost(way)
    cut = ANSWER.index(b"content-length")
    way.answer = (ANSWER[:cut] + b"x-new: 1\r\n" + ANSWER[cut:],)
    files, more, _ = cost(way, ASK[:-2] + b"X-New: 1\r\n\r\n")
    assert files - usual == {"http1/lines.py"}
    assert len(more) <= len(crossings) + 6, more  # two heads split and learnt, and one looked up


def test_every_further_piece_of_an_answer_costs_five_crossings():
    usual, whole, _ = cost(warm(Way()))
    _, two, _ = cost(warm(Way(answer=(ANSWER[:-5], ANSWER[-5:]))))
    files, three, _ = cost(warm(Way(answer=(ANSWER[:-5], ANSWER[-5:-2], ANSWER[-2:]))))
    assert files - usual == {"http1/sending.py"}
    assert len(two) <= len(whole) + 11, two  # head, piece, end: three times through the exchange
    assert len(three) <= len(two) + 5, three


@pytest.mark.parametrize("guarded", [False, True])
def test_no_timer_no_log_and_nothing_left(guarded):
    way = everything() if guarded else Way(True, FEATURES)
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


@pytest.mark.parametrize("guarded", [False, True])
def test_an_exchange_is_freed_without_the_collector(guarded):
    way = everything() if guarded else Way(True, FEATURES)
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
    for name, way in (("plain", Way()), ("features", Way(True, FEATURES)), ("resilience", everything())):
        for _ in range(2000):
            way.go()
        for what, steps in (("budgeted", budgeted(walk(way.go))), ("all", walk(way.go))):
            crossings = [step for step in steps if step[0] != step[1]]
            files = {here for _, here, _ in steps}
            print(f"{name}, {what}: {len(steps)} calls, {len(crossings)} crossings, {len(files)} files")
        print(f"{measure(way):.2f} us\n  " + "\n  ".join(f"{a or '-'} -> {b}:{c}" for a, b, c in steps))
