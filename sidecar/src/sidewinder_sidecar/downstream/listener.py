"""One listening socket: accepts callers up to the limit, knows its connections, drains them. Made and closed by main.

What comes to a transparent one goes to `tcp`, which finds out where it wanted to go and what it speaks.

main keeps one Listener per `plan.listeners` entry: `open` before the plan names it, `drain` when it is gone or the
process ends. The socket is ours (not the loop's) so that "0.0.0.0", "::" and a port of 0 mean the same everywhere.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Protocol

from sidewinder_sidecar.downstream import http1, proxy_protocol, tcp
from sidewinder_sidecar.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidewinder_sidecar import plan
    from sidewinder_sidecar.exchange import Proxy
    from sidewinder_sidecar.messages import Caller, Peer, Serving

# Another proxy of the mesh keeps an idle connection for a minute, unless it is told less: where connections are closed
# sooner than that and a margin, or where more than a quarter of all are taken. Who is told 5 s keeps it for four.
LONG_SECONDS = 75
BRIEF_SECONDS = 5
BACKLOG = 4096  # connections the kernel holds for us: a burst of as many as we would take (the kernel caps it)


class Held(Protocol):
    """A connection of whatever protocol."""

    def drain(self) -> None: ...
    def break_off(self) -> None: ...


class Listener:
    """`open()`, then `drain()` and, once `connections` is empty or time is over, `close()`."""

    __slots__ = ("_server", "address", "closed", "connections", "exchange", "name", "port", "proxy", "turned_away")

    def __init__(
        self,
        proxy: Proxy,
        name: str,
        address: str,
        port: int,
        exchange: Callable[[Caller, Proxy, str, Peer], Serving] = Exchange,
    ) -> None:
        self.proxy = proxy
        self.name = name
        self.address = address
        self.port = port  # 0 until open: then what the kernel chose
        self.exchange = exchange
        self.connections: set[Held] = set()
        self.turned_away = 0  # connections over the limit
        self.closed = False  # no connection is taken any more
        self._server: asyncio.AbstractServer | None = None

    async def open(self) -> None:
        """Bind and accept. Raises OSError, with the address in its text."""
        try:
            sock = _bind(self.address, self.port)
        except OSError as error:
            raise OSError(error.errno, f"listener {self.name}: {self.address}:{self.port}: {error.strerror}") from None
        self.port = sock.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, sock=sock, backlog=BACKLOG)

    def _accept(self) -> Any:  # an asyncio.Protocol, see Wire
        planned = self.proxy.plan.listeners.get(self.name)
        if planned is not None and planned.spec.proxy_protocol:
            return proxy_protocol.Connection(self)
        return self.begin()

    def begin(self, client: str = "") -> Any:
        """What a connection is at first; `client` is whom a PROXY protocol header has named."""
        planned = self.proxy.plan.listeners.get(self.name)
        if planned is not None and (planned.spec.transparent or self.ends_tls(planned)):
            return tcp.Connection(self, client)
        return http1.Connection(self, client)

    def ends_tls(self, planned: plan.Listener) -> bool:
        """Whether other proxies may speak TLS with us here: before the application, once we have a certificate."""
        return planned.inbound and self.proxy.keyring.credentials is not None

    def called(self, peer: Peer) -> int:
        """The port of the application that `peer` has called; 0 if nobody knows."""
        if peer.destination is not None:
            return peer.destination[1]
        planned = self.proxy.plan.listeners.get(self.name)
        service = planned.find(b"") if planned is not None else None
        return service.spec.port if service is not None else 0

    def brief(self) -> int:
        """The seconds that another proxy of the mesh is told to reckon with; 0: nothing needs to be said."""
        limits = self.proxy.limits
        seconds = BRIEF_SECONDS if len(self.connections) > limits.connections // 4 else LONG_SECONDS
        seconds = min(seconds, max(int(limits.idle_seconds), 1))
        return seconds if seconds < LONG_SECONDS else 0

    def met(self, peer: Peer) -> None:
        """It is known who calls: told once for each connection."""
        planned = self.proxy.plan.listeners.get(self.name)
        if planned is not None and planned.inbound:
            self.proxy.callers.met(self.name, self.called(peer), peer, self.proxy.clock())

    def drain(self) -> None:
        """Accept no more; end each connection after what it is doing."""
        self.closed = True
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in tuple(self.connections):
            connection.drain()

    def close(self) -> None:
        """End at once."""
        self.drain()
        for connection in tuple(self.connections):
            connection.break_off()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Listener {self.name} {self.address}:{self.port} {state} {len(self.connections)} connections>"


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # "::" takes IPv4 callers too, as in a dual-stack pod
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address == "::" else 1)
        sock.bind((address, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
