"""One address: its connections, its load, the tries at it. Kept by the fleet; `open` is called by the exchange.

The pool is most recently used first, so that a falling load lets the oldest connections run into the idle limit, which
is below the upstream's own (`limits.upstream_idle_seconds`, or less where its Keep-Alive field says so). Between two
proxies of the mesh the last of them rests for a minute, so that who calls seldom needs no handshake each time.
Connections are made by `dial`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from sidewinder_sidecar.compiled import mypyc_attr
from sidewinder_sidecar.http1.encode import request_head
from sidewinder_sidecar.messages import Failure
from sidewinder_sidecar.tls.keyring import Keyring
from sidewinder_sidecar.upstream import http1, tcp
from sidewinder_sidecar.upstream.dial import Dial
from sidewinder_sidecar.upstream.lookup import Lookup, is_name
from sidewinder_sidecar.wire import OPEN

if TYPE_CHECKING:
    from sidewinder_sidecar import messages
    from sidewinder_sidecar.fields import Fields
    from sidewinder_sidecar.messages import Receiver, Request
    from sidewinder_sidecar.settings import Limits
    from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
    from sidewinder_sidecar.upstream.balance.latency import Latency
    from sidewinder_sidecar.wheel import Wheel


# A request that cannot be sent twice must not meet a kept connection that is being closed at this very moment. Whose
# limit is less than ours says so only by closing: gunicorn after 2 s, others after 1. A connection that has rested less
# is safe; another one costs 0.1 ms here, and over TLS too much: a proxy of the mesh keeps its own for 75 s.
ONCE: Final = frozenset((b"POST", b"PATCH"))
RESTED_SECONDS: Final = 0.75

MOST_LINES: Final = 512  # connections over TLS, 42 KB each, in a process where one may rest that long: 21 MB


class Observer(Protocol):
    """Who wants to know how each try went. Hangs on one endpoint.

    `status` is the answer's, 0 where none came; `error` a key of errors.TABLE, "" where the answer is all there is to
    say. `seconds` are from the try's beginning to the head of its answer, or to its failure. ("caller_gone": nothing
    was found out.)
    """

    def settled(self, status: int, error: str, now: float, seconds: float) -> None: ...


@mypyc_attr(allow_interpreted_subclasses=True)
class Endpoint:
    """`active` counts the attempts that run; `retired` ones finish them and never pool again.

    `identity` is whom TLS must find there, with a certificate of the mesh; `server_name` a host's, with anybody's.
    `usable` is what balancers go by: ready, healthy and not ejected. `probing`: ejected, and one try is to find out
    whether it can come back.
    """

    __slots__ = (
        "active", "address", "connect_timeout", "dials", "ejected", "healthy", "identity", "idle", "keyring", "labels",
        "latency", "limits", "lookup", "observers", "probing", "ready", "retired", "risen", "secure", "server_name",
        "trust", "uid", "usable", "weight", "wheel", "zone",
    )  # fmt: skip

    # Compiled, attributes lie in this order, those of each request together: of a thousand endpoints none is in the
    # processor's caches, and each line of 64 bytes is waited for.
    active: int
    weight: int
    latency: Latency | None  # what it answers in, where a balancer asks
    risen: float  # when its slow start began
    observers: tuple[Observer, ...]  # none: nothing is measured either
    idle: list[http1.Connection]  # most recently used last
    ejected: bool
    probing: bool
    retired: bool
    secure: bool
    address: tuple[str, int]
    identity: str

    def __init__(
        self, spec: EndpointSpec, limits: Limits, wheel: Wheel, connect_timeout: float, keyring: Keyring | None = None
    ) -> None:
        self.uid = spec.uid
        self.address = (spec.address, spec.port)
        self.lookup = Lookup(spec.address) if is_name(spec.address) else None
        self.limits = limits
        self.wheel = wheel
        self.connect_timeout = connect_timeout
        self.keyring = keyring or Keyring()
        self.identity = spec.identity
        self.server_name = spec.server_name
        self.trust = spec.trust
        self.secure = spec.identity != "" or spec.server_name != ""
        self.active = 0
        self.idle = []
        self.dials: dict[Dial, None] = {}  # the oldest first
        self.retired = False
        self.observers = ()
        self.ejected = self.probing = False
        self.healthy = True
        self.latency = None
        self.risen = -inf
        self.update(spec)

    def update(self, spec: EndpointSpec) -> None:
        """A new snapshot's word on the same endpoint."""
        self.weight = spec.weight
        self.zone = spec.zone
        self.labels = spec.labels
        self.ready = spec.ready
        self.healthy = spec.healthy
        self.judge()

    def judge(self) -> None:
        """May it get new requests, all things considered? Whoever changed one of them tells `Backend.reshape`."""
        self.usable = self.ready and self.healthy and not self.ejected

    def watch(self, observer: Observer) -> None:
        """Tell it of every try from now on."""
        self.observers = (*self.observers, observer)

    def unwatch(self, observer: Observer) -> None:
        """Tell it no more."""
        self.observers = tuple(other for other in self.observers if other is not observer)

    def settled(self, status: int, error: str, now: float, seconds: float) -> None:
        """How one try went, told once for each by whoever opened it."""
        for observer in self.observers:
            observer.settled(status, error, now, seconds)

    def begin_slow_start(self, now: float) -> None:
        """It gets little at first, where its backend has a slow start."""
        self.risen = now

    def open(self, request: Request, receiver: Receiver) -> messages.Attempt:
        """One try. Calls nobody back before it has returned. Raises Unsendable for a request that a filter broke."""
        if request.upgrade == b"connect":
            attempt = Attempt(self, request, receiver)
            self.active += 1
            Dial(self, attempt, tcp.Connection)
            return attempt
        attempt = Attempt(self, request, receiver, request_head(request))
        self.active += 1
        idle = self.idle
        if request.method in ONCE and idle and not self.secure and idle[-1].since < self.wheel.clock() - RESTED_SECONDS:
            self._dial(attempt)
            return attempt
        while idle:
            connection = idle.pop()
            if connection.wired == OPEN:
                if self.identity and connection.epoch != self.keyring.epoch:  # ours was renewed: a connection is, too
                    connection.close()
                    continue
                connection.start(attempt)
                return attempt
        self._dial(attempt)
        return attempt

    def _dial(self, attempt: Attempt) -> None:
        """A connection for it: one that is being made and that nobody waits for any more; else a new one."""
        if (dial := self.free_dial()) is not None:
            dial.join(attempt)
        else:
            Dial(self, attempt, http1.Connection)

    def free_dial(self) -> Dial | None:
        """The oldest connection being made that nobody waits for any more, and that may be waited for."""
        if self.secure:
            for dial in self.dials:
                if dial.is_free():
                    return dial
        return None

    @property
    def unclaimed(self) -> int:
        """Connections being made that no try waits for: `active` knows nothing of them."""
        return sum([dial.attempt is None and not dial.answered for dial in self.dials]) if self.dials else 0

    def rest(self, connection: http1.Connection) -> None:
        """Nobody uses it: whoever waits longest for one that is being made gets it; that one is then for the next."""
        if self.retired:
            connection.close()
            return
        if self.secure:
            for dial in self.dials:
                if dial.make is http1.Connection and (attempt := dial.leave()) is not None:
                    connection.take(attempt)
                    return
        self.idle.append(connection)

    def rests_until(self, connection: http1.Connection, now: float) -> float:
        """When it is to be looked at again, or closed if that is past. To a proxy of the mesh, which waits longer than
        applications do, the connection used last stays on: that is all a seldom caller needs. Before its first answer
        it is not known how long the other side waits."""
        until = connection.since + connection.idle_seconds
        if now < until or not self.identity or not self.idle or self.idle[-1] is not connection:
            return until
        if not connection.used or len(self.keyring.lines) > MOST_LINES:
            return until
        return min(now + connection.idle_seconds, connection.since + connection.most_idle)

    def spare(self) -> bool:
        """Close a kept connection, the one that rests longest, to make room elsewhere. False: there is none."""
        if not self.idle:
            return False
        self.idle.pop(0).close()
        return True

    def forget(self, connection: http1.Connection) -> None:
        """It is not idle any more: closed, by whichever side."""
        if connection in self.idle:
            self.idle.remove(connection)

    def retire(self) -> None:
        """No new request will come: close what is idle; what runs ends by itself."""
        self.retired = True
        while self.idle:
            self.idle.pop().close()
        for dial in self.dials:
            if dial.attempt is None:
                dial.give_up()

    def __repr__(self) -> str:
        state = " retired" if self.retired else "" if self.ready else " not ready"
        return f"<Endpoint {self.address[0]}:{self.address[1]}{state} {self.active} active {len(self.idle)} idle>"


class Line(Protocol):
    """A connection that carries an attempt."""

    @property
    def tunnels(self) -> bool: ...
    def send_data(self, data: bytes) -> bool: ...
    def send_end(self, trailers: Fields | None) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def abandon(self) -> None: ...


class Cancels(Protocol):
    """A connection that is being made."""

    def cancel(self) -> None: ...


class Attempt:
    """One try: what the exchange holds of it, carried by a connection of http1 or tcp.

    It lives for one request, so that a late call can never reach the next request on the same connection. What is sent
    before there is a connection is kept, and the sender told to stop at once: it is what one read brought, or a replay.
    Without a connection it is being connected, or over.
    """

    __slots__ = ("connection", "dial", "ended", "endpoint", "head", "pending", "receiver", "request", "trailers")

    def __init__(self, endpoint: Endpoint, request: Request, receiver: Receiver, head: bytes = b"") -> None:
        self.endpoint = endpoint
        self.request = request
        self.receiver: Receiver | None = receiver  # None: over
        self.head = head
        self.connection: Line | None = None
        self.dial: Cancels | None = None
        self.ended = request.length == 0
        self.pending: list[bytes] | None = None  # what was sent before there was a connection
        self.trailers: Fields | None = None

    def send_data(self, data: bytes) -> bool:
        connection = self.connection
        if connection is not None:
            return connection.send_data(data)
        if self.receiver is None:
            return True
        if data:
            self.pending = [*(self.pending or ()), data]
        return False

    def send_end(self, trailers: Fields | None = None) -> None:
        connection = self.connection
        if connection is not None:
            if not self.ended or connection.tunnels:
                self.ended = True
                connection.send_end(trailers)
        elif self.receiver is not None:
            self.ended = True
            self.trailers = trailers

    def pause(self) -> None:
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        if self.connection is not None:
            self.connection.resume()

    def cancel(self, reason: str) -> None:
        if self.receiver is None:
            return
        self.receiver = None
        if self.dial is not None:
            self.dial.cancel()
        if self.connection is not None:
            self.connection.abandon()
        else:
            self.endpoint.active -= 1

    def unsent(self) -> tuple[list[bytes], Fields | None]:
        return self.pending or [], self.trailers

    def fail(self, stage: str, error: str, detail: str) -> None:
        """Over, without an answer: tell the receiver."""
        receiver, self.receiver = self.receiver, None
        self.connection = None
        if receiver is not None:
            self.endpoint.active -= 1
            receiver.on_failure(Failure(stage, error, detail))

    def __repr__(self) -> str:
        state = "over" if self.receiver is None else "connecting" if self.connection is None else "running"
        return f"<Attempt {self.request!r} {self.endpoint.address[0]}:{self.endpoint.address[1]} {state}>"
