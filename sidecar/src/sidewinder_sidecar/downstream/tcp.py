"""A redirected connection: undecided until its service or its first bytes say what it speaks. Made by the listener.

HTTP/1 is handed over to `http1` with every byte that was read; everything else is relayed as it is, by a `flow`.

What is decided here:
* A service that says what it speaks is believed: "HTTP" is never relayed, "TCP" never looked into.
* Silence decides nothing. After `SILENCE_SECONDS` the upstream is opened: if it speaks first, the connection is
  relayed; if the caller does, it is judged then, and an upstream that was opened for nothing is closed.
* Bytes that could still become several things are waited for, UNDECIDED_SECONDS at most; then they are relayed. That
  cannot take a request around a policy: a port that has one for HTTP says "HTTP".
* Where TLS between proxies is ended (an inbound listener, and we have a certificate), a ClientHello with an ALPN of
  ours goes to `secured`. Everybody is listened to for that, whatever the service speaks; a service of HTTP is waited
  for as long as any idle caller. Any other TLS is the application's own.
* A destination that the configuration does not know is asked for once, where it is complete only on demand (`fetch`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.downstream import http1, secured, sniff
from sidewinder_sidecar.downstream.relay import Relay
from sidewinder_sidecar.messages import NAMELESS, Reply
from sidewinder_sidecar.plan.listeners import authority_of
from sidewinder_sidecar.upstream.tcp import keep_alive
from sidewinder_sidecar.wire import LOST, OPEN

if TYPE_CHECKING:
    from sidewinder_sidecar.downstream.listener import Listener
    from sidewinder_sidecar.messages import Peer
    from sidewinder_sidecar.proxy import Asking

SILENCE_SECONDS: Final = 0.05  # who speaks first does so within a round trip; what a server's banner may be late by
UNDECIDED_SECONDS: Final = 3.0  # half a word: longer than a lost packet takes to be sent again, twice
UNREAD: Final = 65536  # bytes that wait for a decision


class Connection(Relay):
    """One caller's connection, for life or until it is handed over."""

    __slots__ = ("asking", "client", "ends_tls", "known", "seen", "speaks")

    def __init__(self, listener: Listener, client: str = "", peer: Peer | None = None) -> None:
        super().__init__(listener)
        self.client = client  # whom a PROXY protocol header has named
        self.known = peer  # who it is, where that was found out before
        self.asking: Asking | None = None  # the operator, for the destination
        self.seen = b""  # what was read and not decided
        self.ends_tls = False  # other proxies may speak TLS with us here
        self.speaks = ""  # what the service says of itself, as ServiceSpec.protocol

    # 1. Where does it want to go?

    def on_open(self) -> None:
        listener = self.listener
        self.peer = peer = self.known or sniff.caller(self.transport)
        if self.client:
            peer.stands_for(self.client)
        listener.connections.add(self)
        if len(listener.connections) > self.limits.connections or listener.closed:
            listener.turned_away += 1
            self._refuse(Reply(503, "overloaded", f"the proxy has {self.limits.connections} connections already"))
            return
        planned = listener.proxy.plan.listeners.get(listener.name)
        if planned is not None and not planned.spec.transparent:
            peer.destination = None
        self.ends_tls = not peer.secure and planned is not None and listener.ends_tls(planned)
        self._look_up()
        if self._is_unknown() and self._asks():
            return
        self._begin()

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

    def _look_up(self) -> None:
        super()._look_up()
        if self.peer.destination is None:
            self.speaks = "HTTP"  # a listener that takes nothing redirected speaks nothing else
        else:
            self.speaks = self.service.spec.protocol if self.service is not None else ""

    def _look_again(self) -> None:
        """A connection that was silent is judged by what holds when it speaks."""
        if self.listener.proxy.plan is not self.plan:
            self._look_up()

    def _begin(self) -> None:
        if self.seen:
            self._judge()
        elif self.half_closed:
            self._decide(sniff.MORE)
        elif self.speaks == "HTTP" and self.ends_tls:
            self.wake(self.wheel.clock() + self.limits.idle_seconds)
        elif self.speaks == "HTTP" or (self.speaks == "TCP" and not self.ends_tls):
            self._decide(sniff.OTHER)
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
        self._look_again()
        if self.ends_tls and (offered := sniff.alpn(self.seen)) != ():
            if offered is None and not self.half_closed:
                return
            if offered is not None and not secured.OURS.isdisjoint(offered):
                self._end_tls()
                return
        if self.speaks:
            self._decide(sniff.OTHER)
            return
        verdict = sniff.judge(self.seen)
        if verdict == sniff.HTTP1:
            self._hand_over()
        elif verdict != sniff.MORE:
            self._relay(verdict)
        elif self.half_closed:
            self._relay(sniff.OTHER)

    def _decide(self, otherwise: str) -> None:
        """No more bytes are waited for: HTTP where the service says so, else relayed as `otherwise`."""
        if self.speaks == "HTTP":
            self._hand_over()
        else:
            self._relay(otherwise)

    def on_due(self, now: float) -> None:
        if self.decided or self.asking is not None:
            return
        self._look_again()
        if self.seen:
            self._decide(sniff.OTHER)
        elif self.speaks == "HTTP":
            self.finish()
        elif self.refusal is not None or now - self.arrived >= self.limits.idle_seconds:
            self._relay("")
        elif self._refused() is None:
            self._lead()
        else:  # what it says may be judged otherwise: silence decides nothing
            self.wake(self.arrived + self.limits.idle_seconds)

    # 3a. HTTP/1: another reads on from the first byte. TLS of ours: another ends it.

    def _hand_over(self) -> None:
        transport, seen, half_closed = self.transport, self.seen, self.half_closed
        connection = http1.Connection(self.listener, "", self.peer)
        if self.watcher is not None:
            self.watcher.pass_on(self, connection)
        self._leave()
        transport.set_protocol(connection)
        connection.connection_made(transport)
        if self.full and connection.wired == OPEN:
            transport.resume_reading()
        if seen:
            connection.data_received(seen)
        if half_closed and connection.wired == OPEN and not connection.eof_received():
            connection.close()

    def _end_tls(self) -> None:
        handshake = secured.Handshake(self.listener, self.peer, self.transport, self._following)
        seen = self.seen
        self._leave()
        handshake.begin(seen)

    def _following(self, http: bool, peer: Peer) -> Connection | http1.Connection:
        return http1.Connection(self.listener, "", peer) if http else Connection(self.listener, "", peer)

    def _leave(self) -> None:
        """The connection is another's from here on."""
        self._forget_flow()
        self.sleep()
        self.listener.connections.discard(self)
        self.wired, self.decided, self.seen = LOST, True, b""

    def _forget_flow(self) -> None:
        flow, self.flow = self.flow, None
        if flow is not None:
            flow.forget()

    # 3b. Anything else: relayed.

    def _relay(self, protocol: str) -> None:
        self.decided = True
        self.sleep()
        self._look_again()
        if self.flow is not None and self.led is not self.plan and (refusal := self._refused()) is not None:
            self._forget_flow()
            self._refuse(refusal)
            return
        if self.refusal is not None:
            self._refuse(self.refusal)
            return
        self.listener.met(self.peer)
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

    def send(self, data: bytes) -> bool:
        """Bytes from the upstream."""
        if not self.decided:  # it speaks first
            self._relay(sniff.OTHER)
        return super().send(data)

    def send_end(self) -> None:
        if not self.decided:
            self._relay("")
        super().send_end()

    # The caller's end.

    def eof_received(self) -> bool:
        """Whether the connection stays open for our side."""
        if self.wired != OPEN:
            return False
        self.half_closed = True
        if self.asking is not None:
            return True
        if not self.decided:
            self._decide(sniff.OTHER if self.seen else "")
        elif self.flow is not None:
            self.flow.on_caller_end()
        return not self.ended

    def on_lost(self, error: Exception | None) -> None:
        asking, self.asking = self.asking, None
        if asking is not None:
            asking.cancel()
        super().on_lost(error)

    def drain(self) -> None:
        """End when nothing moves any more; at once, if nothing was said."""
        if self.flow is not None:
            self.flow.drain()
        elif not self.decided and not self.seen and self.asking is None:
            self.finish()

    def __repr__(self) -> str:
        state = "relayed" if self.decided else "asking" if self.asking is not None else "undecided"
        return f"<Connection {self.peer.address}:{self.peer.port} {state}>"
