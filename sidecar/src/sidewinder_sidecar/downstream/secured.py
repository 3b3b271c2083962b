"""A caller that says it is another proxy of the mesh: the handshake, whom its certificate names, what it wants.

`tcp` has sniffed a ClientHello with an ALPN of ours and gives the connection here. `sidewinder/h1` goes on as `http1`,
with the caller's SPIFFE ID; `sidewinder/tcp` as `tcp` again, in frames, so that each side's end is told: what a caller
calls TCP decides nothing, or it could walk around the policies for HTTP. Who fails is counted, told once a second and
closed: before the handshake is over there is nobody to give an answer to. At most `limits.handshakes` run at a time;
more are turned away, for each is a millisecond of the only thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.tls import contexts, layer
from sidewinder_sidecar.tls.frames import Framed
from sidewinder_sidecar.tls.keyring import Refused, failure

if TYPE_CHECKING:
    from asyncio import BaseTransport
    from collections.abc import Callable
    from typing import Any

    from sidewinder_sidecar.downstream.listener import Listener
    from sidewinder_sidecar.messages import Peer

OURS: Final = frozenset(contexts.OURS)
SERVER: Final = "server"


class Handshake:
    """From a ClientHello until there is somebody: an asyncio.Protocol, and SSLProtocol's waiter. See `tls/layer`."""

    __slots__ = ("listener", "made", "next", "over", "peer", "raw")

    def __init__(self, listener: Listener, peer: Peer, raw: Any, following: Callable[[bool, Peer], Any]) -> None:
        self.listener = listener
        self.peer = peer
        self.raw = raw  # the transport below TLS
        self.next = following  # makes the connection that goes on: of HTTP, or of any kind
        self.made = False
        self.over = False

    def begin(self, seen: bytes) -> None:
        """`seen` is what was read of the connection."""
        listener = self.listener
        keyring, limits = listener.proxy.keyring, listener.proxy.limits
        credentials = keyring.usable
        if credentials is None:
            self._fail("own_expired", "our own certificate's time is over")
        elif keyring.pending >= limits.handshakes:
            self._fail("overloaded", f"{limits.handshakes} handshakes run already")
        else:
            keyring.pending += 1
            self.made = True
            listener.connections.add(self)
            layer.accept(self.raw, credentials.server, self, seen, limits.handshake_seconds)

    # What SSLProtocol says as to a waiter.

    def cancelled(self) -> bool:
        return self.over

    def set_result(self, nothing: None) -> None:
        """It is over: by connection_made, or without a word."""
        if not self.over:
            self._fail("cut", "the peer closed the connection")

    def set_exception(self, error: BaseException) -> None:
        self._fail(*failure(error))

    # What it says as to a protocol.

    def connection_made(self, transport: BaseTransport) -> None:
        keyring = self.listener.proxy.keyring
        try:
            leaf = keyring.judge(transport)
        except Refused as fault:
            self._fail(fault.result, fault.detail)
            return
        spoken = transport.get_extra_info("ssl_object").selected_alpn_protocol()
        self._end()
        keyring.count(SERVER, "ok")
        self.peer.secure, self.peer.identity, self.peer.expires = True, leaf.spiffe_id, leaf.not_after
        framed = spoken == contexts.TCP
        connection = self.next(not framed, self.peer)
        keyring.watch(connection, leaf)
        if framed:
            Framed(transport).carry(connection)
        else:
            transport.set_protocol(connection)
            connection.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """After a refusal."""

    def data_received(self, data: bytes) -> None:
        """After a refusal: nobody listens."""

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        """Nothing is written."""

    def resume_writing(self) -> None:
        """Nothing is written."""

    # What the listener does to its connections.

    def drain(self) -> None:
        """A handshake is short: let it end."""

    def break_off(self) -> None:
        self._end()
        self.raw.abort()

    def _fail(self, result: str, detail: str) -> None:
        if self.over:
            return
        self._end()
        who = f"{self.peer.address}:{self.peer.port}"
        self.listener.proxy.keyring.failed(SERVER, result, who, detail)
        self.raw.abort()

    def _end(self) -> None:
        if self.made:
            self.made = False
            self.listener.proxy.keyring.pending -= 1
            self.listener.connections.discard(self)
        self.over = True
