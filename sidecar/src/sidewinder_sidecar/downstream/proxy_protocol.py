"""PROXY protocol, versions 1 and 2: who is behind a load balancer that passes TCP on. Made by the listener.

Source: HAProxy, doc/proxy-protocol.txt. A port that asks for it takes nobody without: a connection that begins with
anything else is reset, told and counted, or a caller could leave the header out and be taken for the load balancer. The
one exception is another proxy of the mesh, which opens TLS of our own kind and proves there who it is.

The header is taken off: the application is told in X-Forwarded-For. LOCAL, UNKNOWN and families without an address keep
the socket's own; a transport other than a stream is refused. What is in a TLV is skipped.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.downstream import sniff
from sidewinder_sidecar.downstream.secured import OURS
from sidewinder_sidecar.messages import Peer, Relayed
from sidewinder_sidecar.wire import LOST, OPEN, Wire

if TYPE_CHECKING:
    from sidewinder_sidecar.downstream.listener import Listener

V1: Final = b"PROXY "
V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
LONGEST_V1: Final = 107  # bytes with the line's end: the specification's own figure
LONGEST_V2: Final = 4096  # bytes after the fixed part: addresses take 216 at most, the rest is TLVs
LONGEST_HELLO: Final = 16389  # one TLS record (RFC 8446 section 5.1): ours are a tenth of it
_FIXED: Final = 16  # bytes of version 2 before the addresses
_HANDSHAKE: Final = 0x16


class BadHeader(Exception):
    """The connection does not begin as it has to; says why."""


class Header:
    """What a whole header says: its size, and who is behind it ("": whom the socket says)."""

    __slots__ = ("client", "size")

    def __init__(self, size: int, client: str = "") -> None:
        self.size = size
        self.client = client


def read(seen: bytes) -> Header | None:
    """The header that a connection begins with; None: not all of it is here yet. Raises BadHeader.

    The same bytes are judged the same however they are split.
    """
    if V1.startswith(seen[: len(V1)]):
        return _version_1(seen) if len(seen) >= len(V1) else None
    if V2.startswith(seen[: len(V2)]):
        return _version_2(seen) if len(seen) >= _FIXED else None
    if seen[0] == _HANDSHAKE:
        return _hello(seen)
    raise BadHeader("no PROXY protocol header")


def _version_1(seen: bytes) -> Header | None:
    end = seen.find(b"\r\n", 0, LONGEST_V1)
    if end < 0:
        if len(seen) >= LONGEST_V1:
            raise BadHeader(f"a version 1 header longer than {LONGEST_V1} bytes")
        return None
    words = seen[:end].split(b" ")
    if words[1] == b"UNKNOWN":
        return Header(end + 2)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6") or not (_is_port(words[4]) and _is_port(words[5])):
        raise BadHeader("a version 1 header that is no protocol, two addresses and two ports")
    family = socket.AF_INET if words[1] == b"TCP4" else socket.AF_INET6
    _packed(family, words[3])
    return Header(end + 2, _shown(_packed(family, words[2])))


def _is_port(word: bytes) -> bool:
    return word.isdigit() and len(word) <= 5 and int(word) < 65536 and (word == b"0" or word[0] != 48)


def _packed(family: int, word: bytes) -> bytes:
    try:
        return socket.inet_pton(family, word.decode("ascii"))
    except (OSError, ValueError):
        raise BadHeader("a version 1 header with what is no address") from None


def _version_2(seen: bytes) -> Header | None:
    command, kind, length = seen[12], seen[13], int.from_bytes(seen[14:16], "big")
    if command not in (0x20, 0x21):
        raise BadHeader(f"a version 2 header with version and command {command:#04x}")
    if length > LONGEST_V2:
        raise BadHeader(f"a version 2 header with more than {LONGEST_V2} bytes of addresses and TLVs")
    if len(seen) < _FIXED + length:
        return None
    size = _FIXED + length
    if command == 0x20 or kind in (0x00, 0x31):  # LOCAL: the load balancer's own words; no family, or a Unix socket
        return Header(size)
    if kind == 0x11 and length >= 12:
        return Header(size, _shown(seen[16:20]))
    if kind == 0x21 and length >= 36:
        return Header(size, _shown(seen[16:32]))
    raise BadHeader(f"a version 2 header with family and transport {kind:#04x} in {length} bytes")


def _shown(raw: bytes) -> str:
    if len(raw) == 4:
        return socket.inet_ntop(socket.AF_INET, raw)
    return sniff.unmapped(socket.inet_ntop(socket.AF_INET6, raw))


def _hello(seen: bytes) -> Header | None:
    """TLS without a header: welcome from a proxy of the mesh."""
    offered = sniff.alpn(seen)
    if offered is None:
        if len(seen) > LONGEST_HELLO:
            raise BadHeader("no PROXY protocol header")
        return None
    if not OURS.isdisjoint(offered):
        return Header(0)
    raise BadHeader("no PROXY protocol header before TLS")


class Connection(Wire):
    """A connection until its header is read; then the listener's next kind takes over, with what was read after it."""

    __slots__ = ("arrived", "listener", "peer", "seen")

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener.proxy.wheel, listener.proxy.limits)
        self.listener = listener
        self.arrived = self.wheel.clock()
        self.peer: Peer
        self.seen = b""

    def on_open(self) -> None:
        self.peer = sniff.caller(self.transport)
        if not self._is_asked():
            return self._hand_over(Header(0))
        self.listener.connections.add(self)
        if len(self.listener.connections) > self.limits.connections or self.listener.closed:
            self.listener.turned_away += 1
            return self.break_off()
        self.wake(self.arrived + self.limits.head_seconds)

    def _is_asked(self) -> bool:
        """A listener that takes redirected connections stands for many ports, any other for its own alone."""
        planned = self.listener.proxy.plan.listeners.get(self.listener.name)
        if planned is None:
            return False
        to = self.peer.destination
        return not planned.spec.transparent or (to is not None and to[1] in planned.spec.proxy_protocol)

    def data_received(self, data: bytes) -> None:
        if self.wired != OPEN:
            return
        self.seen += data
        try:
            header = read(self.seen)
        except BadHeader as fault:
            return self._refuse(f"the connection begins with {fault}")
        if header is None:
            return
        planned = self.listener.proxy.plan.listeners.get(self.listener.name)
        if not header.size and (planned is None or not self.listener.ends_tls(planned)):
            return self._refuse("the connection begins with TLS of the mesh, and there is no certificate here yet")
        self._hand_over(header)

    def _hand_over(self, header: Header) -> None:
        transport, listener, rest = self.transport, self.listener, self.seen[header.size :]
        listener.connections.discard(self)
        self.sleep()
        self.wired, self.seen = LOST, b""
        connection = listener.begin(header.client)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        if rest:  # for whoever has the connection by now: the next may have handed it on at once
            transport.get_protocol().data_received(rest)

    def _refuse(self, detail: str) -> None:
        """Reset: who leaves the header out is to see that nothing was taken."""
        told = Relayed(self.listener.name, self.peer, self.arrived)
        told.error, told.detail, told.ended = "proxy_protocol", detail, self.wheel.clock()
        told.bytes_in = len(self.seen)
        self.seen = b""
        self.listener.proxy.record_relayed(told)
        self.break_off()

    def eof_received(self) -> bool:
        if self.seen and self.wired == OPEN:
            self._refuse("the connection ends in the middle of its PROXY protocol header")
        return False  # without a word: a load balancer that looks whether anybody is there

    def on_due(self, now: float) -> None:
        if self.wired == OPEN:
            self._refuse(f"no PROXY protocol header within {self.limits.head_seconds:g} s")

    def on_lost(self, error: Exception | None) -> None:
        self.listener.connections.discard(self)

    def drain(self) -> None:
        """End, if nothing was said."""
        if not self.seen:
            self.finish()

    def __repr__(self) -> str:
        return f"<Connection {self.peer.address}:{self.peer.port} before its header>"
