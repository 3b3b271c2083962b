"""A second protocol, in memory, on both sides of the exchange, and time that moves only when a test says so.

`Scene` is a whole proxy without sockets: snapshots go in as resources, `ask` makes a caller with its exchange, the
attempts that were opened are kept. Callers and attempts write down what they were told and complain (`faults`) about
what the vocabulary forbids: something after the end, an end before the head, a double release.
"""

from __future__ import annotations

from sidewinder_sidecar.exchange import Exchange, Proxy
from sidewinder_sidecar.fields import Fields, fields
from sidewinder_sidecar.fleet import Fleet
from sidewinder_sidecar.messages import Call, Failure, Peer, Receiver, Request, Response
from sidewinder_sidecar.plan import Plan, build
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot import KINDS, Resource
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.routes import RouteSpec, RuleSpec, WeightedBackend
from sidewinder_sidecar.snapshot.services import ServiceSpec
from sidewinder_sidecar.snapshot.upstreams import BackendSpec, EndpointSpec, EndpointsSpec
from sidewinder_sidecar.upstream import endpoint as upstream
from sidewinder_sidecar.wheel import Wheel

PEER = Peer("10.9.9.9", 40000)


class Clock:
    """Monotonic seconds and the one timer that a wheel has."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, object]] = []

    def __call__(self) -> float:
        return self.now

    def later(self, seconds: float, call: object) -> None:
        self._timers.append((self.now + seconds, call))

    def advance(self, seconds: float) -> None:
        """Let time pass, turn by turn."""
        until = self.now + seconds
        while self._timers and min(self._timers, key=lambda timer: timer[0])[0] <= until:
            self._timers.sort(key=lambda timer: timer[0])
            when, call = self._timers.pop(0)
            self.now = max(self.now, when)
            call()
        self.now = until

    @property
    def armed(self) -> int:
        return len(self._timers)


class Attempt:
    """One try, as the endpoint's protocol sees it. The test plays the upstream: `answer`, `data`, `end`, `fail`."""

    def __init__(self, endpoint: Endpoint, request: Request, receiver: Receiver) -> None:
        self.endpoint = endpoint
        self.method = request.method
        self.target = request.target
        self.fields = {row[0]: row[2] for row in request.fields}
        self.receiver: Receiver = receiver
        self.body = b""
        self.ended = request.length == 0 or request.upgrade != b""
        self.trailers: Fields | None = None
        self.over = False
        self.cancelled: str | None = None
        self.paused = False
        self.writable = True
        self.connected = True  # False: what is sent waits for a connection
        self.pending: list[bytes] = []
        self.tunnel = self.upstream_ended = False

    # the exchange calls

    def send_data(self, data: bytes) -> bool:
        self._alive("send_data")
        if self.ended and not self.tunnel:
            self.endpoint.faults.append("send_data after the request's end")
        self.body += data
        if not self.connected:
            self.pending.append(data)
        return self.writable

    def send_end(self, trailers: Fields | None = None) -> None:
        self._alive("send_end")
        if self.ended:
            self.endpoint.faults.append("send_end twice")
        self.ended = True
        self.trailers = trailers
        if self.upstream_ended:
            self._release()

    def pause(self) -> None:
        self._alive("pause")
        self.paused = True

    def resume(self) -> None:
        self._alive("resume")
        self.paused = False

    def cancel(self, reason: str) -> None:
        self._alive("cancel")
        self.cancelled = reason
        self._release()

    def unsent(self) -> tuple[list[bytes], Fields | None]:
        return self.pending, self.trailers

    def _alive(self, what: str) -> None:
        if self.over:
            self.endpoint.faults.append(f"{what} after the try was over")

    def _release(self) -> None:
        self.over = True
        self.endpoint.active -= 1

    # the test calls

    def inform(self, status: int, *pairs: tuple[bytes, bytes]) -> None:
        self.receiver.on_informational(Response(status, fields(*pairs)))

    def answer(
        self, status: int = 200, body: bytes | None = None, *pairs: tuple[bytes, bytes], whole: bool = False
    ) -> None:
        """A head; with a body the whole answer, in pieces or as one (`whole`)."""
        response = Response(status, fields(*pairs), None if body is None else len(body))
        if body == b"" or (whole and body is not None):
            self._release()
            self.receiver.on_response(response, body)
            return
        self.receiver.on_response(response, None)
        if body is not None and not self.over:
            self.data(body)
            if not self.over:
                self.end()

    def data(self, data: bytes) -> None:
        self.receiver.on_data(data)

    def end(self, trailers: Fields | None = None) -> None:
        if self.tunnel and not self.ended:
            self.upstream_ended = True
            self.receiver.on_end(trailers)
            return
        self._release()
        self.receiver.on_end(trailers)

    def open_tunnel(self, status: int = 101) -> None:
        self.tunnel, self.ended = True, False
        self.receiver.on_tunnel(Response(status, fields()))

    def fail(self, stage: str, error: str, detail: str = "") -> None:
        self._release()
        self.receiver.on_failure(Failure(stage, error, detail))

    def write_on(self) -> None:
        self.writable = True
        self.receiver.on_writable()


class Endpoint(upstream.Endpoint):
    """An address. `opened` is the scene's list of all attempts in order."""

    def __init__(self, spec: EndpointSpec, wheel: Wheel, opened: list[Attempt], faults: list[str]) -> None:
        super().__init__(spec, Limits(), wheel, 5.0)
        self.opened = opened
        self.faults = faults

    def update(self, spec: EndpointSpec) -> None:
        super().update(spec)
        self.spec = spec

    def open(self, request: Request, receiver: Receiver) -> Attempt:
        if self.retired:
            self.faults.append("open on a retired endpoint")
        self.active += 1
        attempt = Attempt(self, request, receiver)
        self.opened.append(attempt)
        return attempt

    def retire(self) -> None:
        self.retired = True

    def __repr__(self) -> str:
        return f"<Endpoint {self.address}>"


class Caller:
    """A downstream stream that writes down what it was told."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.informed: list[int] = []
        self.response: Response | None = None
        self.body = b""
        self.ended = False
        self.trailers: Fields | None = None
        self.was_reset = ""
        self.paused = False
        self.writable = True
        self.tunnel = False
        self.exchange: Exchange

    @property
    def status(self) -> int:
        return 0 if self.response is None else self.response.status

    def header(self, name: bytes) -> bytes | None:
        assert self.response is not None
        return self.response.fields.get(name)

    def send_informational(self, response: Response) -> None:
        self._alive("send_informational")
        if self.response is not None:
            self.scene.faults.append("an interim answer after the final one")
        self.informed.append(response.status)

    def send_head(self, response: Response, body: bytes | None) -> None:
        self._alive("send_head")
        if self.response is not None:
            self.scene.faults.append("two answers")
        self.response = response
        self.body = body or b""
        self.ended = body is not None

    def send_data(self, data: bytes) -> bool:
        self._alive("send_data")
        if self.response is None:
            self.scene.faults.append("a body without a head")
        self.body += data
        return self.writable

    def send_end(self, trailers: Fields | None = None) -> None:
        self._alive("send_end")
        if self.response is None:
            self.scene.faults.append("an end without a head")
        self.ended = True
        self.trailers = trailers

    def open_tunnel(self, response: Response) -> None:
        self._alive("open_tunnel")
        self.response = response
        self.tunnel = True

    def reset(self, error: str) -> None:
        self._alive("reset")
        self.was_reset = error

    def pause(self) -> None:
        self._alive("pause")
        self.paused = True

    def resume(self) -> None:
        self._alive("resume")
        self.paused = False

    def _alive(self, what: str) -> None:
        half_closed = self.tunnel and what in ("reset", "pause", "resume")  # the caller may still be sending
        if (self.ended and not half_closed) or self.was_reset:
            self.scene.faults.append(f"{what} after the answer's end")

    @property
    def over(self) -> bool:
        return self.ended or bool(self.was_reset)


class Scene:
    """A proxy without sockets."""

    def __init__(self, *resources: Resource, limits: Limits | None = None) -> None:
        self.clock = Clock()
        self.faults: list[str] = []
        self.records: list[Call] = []
        self.endpoints: dict[tuple[str, int], Endpoint] = {}
        self.made: list[Endpoint] = []
        self.opened: list[Attempt] = []
        self.wheel = Wheel(self.clock, self.clock.later)
        self.fleet = Fleet(self.wheel, self._make)
        self.proxy = Proxy(self.fleet, self.wheel, self.records.append, limits or Limits())
        if resources:
            self.adopt(*resources)

    def _make(self, spec: EndpointSpec, connect_timeout: float) -> Endpoint:
        endpoint = Endpoint(spec, self.wheel, self.opened, self.faults)
        self.endpoints[endpoint.address] = endpoint
        self.made.append(endpoint)
        return endpoint

    def plan(self, *resources: Resource) -> Plan:
        """Build a plan of resources; what every snapshot needs is added."""
        snapshot = {f"{KINDS[type(body)]}/{getattr(body, 'name', 'self')}": body for body in resources}
        proxies = [name for name in snapshot if name.startswith("proxy/")]
        for name in proxies:
            snapshot["proxy/self"] = snapshot.pop(name)
        snapshot.setdefault("proxy/self", ProxySpec(name="test", namespace="shop", trace_percent=0.0))
        steps = build(snapshot, self.fleet, self.proxy.plan)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                plan: Plan = done.value
                return plan

    def adopt(self, *resources: Resource) -> Plan:
        plan = self.plan(*resources)
        self.proxy.adopt(plan)
        return plan

    def caller(self, listener: str = "out") -> Caller:
        caller = Caller(self)
        caller.exchange = Exchange(caller, self.proxy, listener, PEER)
        return caller

    def ask(
        self,
        method: bytes = b"GET",
        target: bytes = b"/",
        *pairs: tuple[bytes, bytes],
        authority: bytes = b"reviews:9080",
        body: bytes | None = b"",
        length: int | None = 0,
        upgrade: bytes = b"",
        listener: str = "out",
    ) -> Caller:
        """A caller that sends a request. `body` None: it goes on with `length` bytes, told by the test."""
        caller = self.caller(listener)
        if body:
            length = len(body)
        request = Request(method, target, authority, fields(*pairs), length)
        request.upgrade = upgrade
        caller.exchange.begin(request, length == 0)
        if body:
            caller.exchange.on_request_data(body)
            caller.exchange.on_request_end(None)
        return caller

    def attempt(self, number: int = -1) -> Attempt:
        """An attempt, by the order of opening over all endpoints."""
        return self.opened[number]

    @property
    def attempts(self) -> int:
        return len(self.opened)

    def check(self) -> None:
        """Nothing forbidden was done, nothing is left over."""
        assert self.faults == []
        assert self.proxy.bugs == 0
        assert not self.proxy.running
        assert all(endpoint.active == 0 for endpoint in self.made)
        assert len(set(map(id, self.records))) == len(self.records)


def backend(name: str, addresses: int = 1, **options: object) -> tuple[BackendSpec, EndpointsSpec]:
    """A backend with endpoints of its own: 10.0.<n>.1 and so on, told apart by the name."""
    subnet = sum(name.encode()) % 250
    endpoints = tuple(
        EndpointSpec(uid=f"{name}-{number}", address=f"10.0.{subnet}.{number + 1}", port=9080)
        for number in range(addresses)
    )
    spec = BackendSpec(name=name, endpoints=name, service=name, **options)  # type: ignore[arg-type]
    return spec, EndpointsSpec(name=name, endpoints=endpoints)


def service(*routes: str, name: str = "shop/reviews:9080", backend: str = "", **options: object) -> ServiceSpec:
    """The service `reviews`."""
    options.setdefault("domains", ("reviews",))
    return ServiceSpec(name=name, namespace="shop", port=9080, routes=routes, backend=backend, **options)  # type: ignore[arg-type]


def listener(**options: object) -> ListenerSpec:
    """The outbound listener."""
    options.setdefault("name", "out")
    return ListenerSpec(direction="Outbound", address="127.0.0.1", port=15001, **options)  # type: ignore[arg-type]


def rule(*backends: str | WeightedBackend, **options: object) -> RuleSpec:
    """A rule of one or more backends."""
    shares = tuple(one if isinstance(one, WeightedBackend) else WeightedBackend(backend=one) for one in backends)
    options.setdefault("name", "everyone")
    return RuleSpec(backends=shares, **options)  # type: ignore[arg-type]


def shop(*rules: RuleSpec, backends: tuple[tuple[BackendSpec, EndpointsSpec], ...] = ()) -> tuple[Resource, ...]:
    """A snapshot: the listener `out`, the service `reviews` with one route of these rules, backend `v1` if no other."""
    made = backends or (backend("v1"),)
    route = RouteSpec(name="shop/reviews", rules=rules or (rule("v1"),))
    return (listener(), service("shop/reviews"), route, *(resource for pair in made for resource in pair))


def endpoints(*weights: int) -> list[Endpoint]:
    """Endpoints of these weights, of no scene."""
    clock = Clock()
    wheel = Wheel(clock, clock.later)
    return [
        Endpoint(EndpointSpec(uid=str(number), address=f"10.0.0.{number}", port=1, weight=weight), wheel, [], [])
        for number, weight in enumerate(weights)
    ]
