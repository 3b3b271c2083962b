"""A redirected connection: undecided until its service or its first bytes say what it speaks. Made by the listener.

HTTP/1 is handed over to `http1` with every byte that was read; everything else is relayed as it is, by a `flow`.

What is decided here:
* A service that says what it speaks is believed: "HTTP" is never relayed, "TCP" never looked into.
* Silence decides nothing. After `SILENCE_SECONDS` the upstream is opened: if it speaks first, the connection is
  relayed; if the caller does, it is judged then, and an upstream that was opened for nothing is closed.
* Bytes that could still become several things are waited for, UNDECIDED_SECONDS at most; then they are relayed. That
  cannot take a request around a policy: a port that has one for HTTP says "HTTP".
* A destination that the configuration does not know is asked for once, where it is complete only on demand (`fetch`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.downstream import http1, sniff
from sidewinder_sidecar.downstream.flow import Flow
from sidewinder_sidecar.messages import NAMELESS, Peer, Reply
from sidewinder_sidecar.plan.listeners import authority_of
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
from sidewinder_sidecar.upstream.tcp import keep_alive
from sidewinder_sidecar.wire import LOST, OPEN, Wire

if TYPE_CHECKING:
    from sidewinder_sidecar.downstream.listener import Listener
    from sidewinder_sidecar.plan import Service
    from sidewinder_sidecar.proxy import Asking

SILENCE_SECONDS: Final = 0.05  # who speaks first does so within a round trip; what a server's banner may be late by
UNDECIDED_SECONDS: Final = 3.0  # half a word: longer than a lost packet takes to be sent again, twice
UNREAD: Final = 65536  # bytes that wait for a decision
CONNECT_SECONDS: Final = 5.0  # to a destination of no service: as BackendSpec's default


class Connection(Wire):
    """One caller's connection, for life or until it is handed over."""

    __slots__ = (
        "arrived", "asking", "decided", "ended", "flow", "full", "half_closed", "listener", "peer", "refusal", "seen",
        "service",
    )  # fmt: skip

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener.proxy.wheel, listener.proxy.limits)
        self.listener = listener
        self.peer: Peer
        self.arrived = self.wheel.clock()
        self.service: Service | None = None
        self.refusal: Reply | None = None  # why the connection leads nowhere
        self.asking: Asking | None = None  # the operator, for the destination
        self.seen = b""  # what was read and not decided
        self.flow: Flow | None = None
        self.decided = False  # it is relayed
        self.full = False  # reading is paused
        self.half_closed = False  # the caller sends nothing more
        self.ended = False

    # 1. Where does it want to go?

    def on_open(self) -> None:
        self.peer = sniff.caller(self.transport)
        self.listener.connections.add(self)
        if len(self.listener.connections) > self.limits.connections or self.listener.closed:
            self.listener.turned_away += 1
            self._refuse("overloaded", f"the proxy has {self.limits.connections} connections already")
            return
        self._look_up()
        if self._is_unknown() and self._asks():
            return
        self._begin()

    def _look_up(self) -> None:
        plan, peer = self.listener.proxy.plan, self.peer
        listener = plan.listeners.get(self.listener.name)
        self.service = self.refusal = None
        if listener is None or (to := peer.destination) is None:
            self.refusal = Reply(503, "draining", "the listener is gone")
            return
        self.service = listener.reached.get(to) or listener.reach(to)
        if self.service is None:
            found = listener.onward(peer, plan.listeners)
            self.refusal = found if isinstance(found, Reply) else None

    def _is_unknown(self) -> bool:
        plan = self.listener.proxy.plan
        listener = plan.listeners.get(self.listener.name)
        if self.service is not None or listener is None or listener.inbound or not plan.proxy.lazy:
            return False
        return self.peer.destination not in (None, NAMELESS)

    def _asks(self) -> bool:
        fetch, to = self.listener.proxy.fetch, self.peer.destination
        if fetch is None or to is None:
            return False
        self.asking = fetch(authority_of(to), self._on_fetched)
        return self.asking is not None

    def _on_fetched(self) -> None:
        self.asking = None
        if self.wired == OPEN:
            self._look_up()
            self._begin()

    # 2. What does it speak?

    def _begin(self) -> None:
        protocol = self.service.spec.protocol if self.service is not None else ""
        if protocol == "HTTP":
            self._hand_over()
        elif protocol == "TCP":
            self._relay(sniff.OTHER)
        elif self.seen:
            self._judge()
        elif self.half_closed:
            self._relay("")
        else:
            self.wake(self.wheel.clock() + SILENCE_SECONDS)

    def data_received(self, data: bytes) -> None:
        if self.wired != OPEN:
            return
        if self.decided:
            if self.flow is not None:
                self.flow.on_caller_data(data)
            return
        first = not self.seen
        self.seen += data
        if self.asking is not None:
            if len(self.seen) > UNREAD:
                self.pause()
            return
        if first:
            self.wake(self.wheel.clock() + UNDECIDED_SECONDS)
        self._judge()

    def _judge(self) -> None:
        verdict = sniff.judge(self.seen)
        if verdict == sniff.HTTP1:
            self._hand_over()
        elif verdict != sniff.MORE:
            self._relay(verdict)
        elif self.half_closed:
            self._relay(sniff.OTHER)

    def on_due(self, now: float) -> None:
        if self.decided or self.asking is not None:
            return
        if self.seen:
            self._relay(sniff.OTHER)
        elif self.refusal is not None:
            self._relay("")
        else:
            self._open_flow()

    # 3a. HTTP/1: another reads on from the first byte.

    def _hand_over(self) -> None:
        self._forget_flow()
        self.sleep()
        transport, listener, seen = self.transport, self.listener, self.seen
        listener.connections.discard(self)
        self.wired, self.decided, self.seen = LOST, True, b""
        connection = http1.Connection(listener)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        connection.peer = self.peer
        if self.full and connection.wired == OPEN:
            transport.resume_reading()
        if seen:
            connection.data_received(seen)
        if self.half_closed and connection.wired == OPEN and not connection.eof_received():
            connection.close()

    def _forget_flow(self) -> None:
        flow, self.flow = self.flow, None
        if flow is not None:
            flow.forget()

    # 3b. Anything else: relayed.

    def _relay(self, protocol: str) -> None:
        self.decided = True
        self.sleep()
        if self.refusal is not None:
            self._refuse(self.refusal.error, self.refusal.detail)
            return
        flow = self.flow or self._open_flow()
        if flow is None:
            return
        keep_alive(self.transport)
        flow.protocol = protocol
        if protocol == sniff.TLS:
            flow.host = sniff.server_name(self.seen)
        seen, self.seen = self.seen, b""
        if seen:
            flow.on_caller_data(seen)
        if self.half_closed:
            flow.on_caller_end()

    def _open_flow(self) -> Flow | None:
        """Towards the upstream. None if there is no way, which the caller is shown."""
        proxy, service, to = self.listener.proxy, self.service, self.peer.destination
        self.flow = flow = self._flow()
        if service is None:
            if to is None:
                return None
            spec = EndpointSpec(uid=to[0], address=to[0], port=to[1])
            flow.open_alone(proxy.fleet.make(spec, CONNECT_SECONDS))
            return flow
        shares = service.direct.shares
        if not shares or (backend := shares[0].backend) is None:
            flow.refuse("no_backend", f"{service.name} has no backend of its own")
            return None
        flow.open(backend, to if service.exact is not None else None)
        return flow

    def _flow(self) -> Flow:
        flow = Flow(self, self.listener.proxy, self.listener.name, self.peer)
        flow.started = self.arrived
        flow.service = self.service.name if self.service is not None else ""
        return flow

    def _refuse(self, error: str, detail: str) -> None:
        self.decided = True
        self.flow = flow = self._flow()
        flow.refuse(error, detail)

    # The flow's side.

    def on_connected(self) -> None:
        """The upstream is there, and has said nothing yet."""

    def send(self, data: bytes) -> bool:
        """Bytes from the upstream."""
        if not self.decided:  # it speaks first
            self._relay(sniff.OTHER)
        self.write(data)
        return self.room

    def send_end(self) -> None:
        if not self.decided:
            self._relay("")
        self.say_eof()

    def pause(self) -> None:
        self.full = True
        if self.wired == OPEN:
            self.transport.pause_reading()

    def resume(self) -> None:
        self.full = False
        if self.wired == OPEN:
            self.transport.resume_reading()

    def end(self, whole: bool) -> None:
        self.flow = None
        self.ended = True
        if whole:
            self.close()
        else:
            self.break_off()

    def _linger(self) -> None:
        """What is unsent may take as long as anything else that moves: there is no answer's length to miss it by."""
        self.room = False
        self.wake(self.wheel.clock() + self.limits.stall_seconds)

    # The caller's end.

    def eof_received(self) -> bool:
        """Whether the connection stays open for our side."""
        if self.wired != OPEN:
            return False
        self.half_closed = True
        if self.asking is not None:
            return True
        if not self.decided:
            self._relay(sniff.OTHER if self.seen else "")
        elif self.flow is not None:
            self.flow.on_caller_end()
        return not self.ended

    def on_lost(self, error: Exception | None) -> None:
        self.listener.connections.discard(self)
        asking, self.asking = self.asking, None
        if asking is not None:
            asking.cancel()
        flow, self.flow = self.flow, None
        if flow is not None:
            flow.on_caller_gone("caller_gone")

    def on_writable(self) -> None:
        if self.flow is not None:
            self.flow.on_caller_writable()

    def drain(self) -> None:
        """End when nothing moves any more; at once, if nothing was said."""
        if self.flow is not None:
            self.flow.drain()
        elif not self.decided and not self.seen and self.asking is None:
            self.finish()

    def __repr__(self) -> str:
        state = "relayed" if self.decided else "asking" if self.asking is not None else "undecided"
        return f"<Connection {self.peer.address}:{self.peer.port} {state}>"
