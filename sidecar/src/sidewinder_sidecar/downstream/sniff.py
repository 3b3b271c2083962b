"""First bytes of a redirected connection: what they are, and where it wanted to go. Pure; asked by `tcp`.

Nothing is peeked: the bytes that were read travel with the hand-over. `judge` decides on the fewest bytes that suffice,
and gives the same answer for any split of the same bytes.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, Final

from sidewinder_sidecar.messages import NAMELESS, Peer

if TYPE_CHECKING:
    from asyncio import BaseTransport

# Verdicts. MORE: the bytes could still become several things.
MORE: Final = ""
HTTP1: Final = "HTTP/1"
TO_PROXY: Final = "HTTP proxy"  # HTTP/1 as it is said to a forward proxy: CONNECT, or a whole URI as target
HTTP2: Final = "HTTP/2"
TLS: Final = "TLS"
OTHER: Final = "TCP"

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LONGEST_METHOD: Final = 24  # token bytes before the first space; nothing IANA knows is longer than 17
LONGEST_LINE: Final = 8192  # a request line that is still without an end: HTTP/1 says what is wrong with it
_TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_HANDSHAKE: Final = 0x16  # a TLS record's type (RFC 8446 section 5.1), and the message that a caller begins with
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0  # extensions (RFC 6066 section 3, RFC 7301 section 3.1)
_ALPN: Final = 16
LONGEST_RECORD: Final = 16384  # bytes (RFC 8446 section 5.1); a hello of ours has 300, one with post-quantum keys 1 700
_ORIGINAL_DST: Final = 80  # SO_ORIGINAL_DST of linux/netfilter_ipv4.h, IP6T_SO_ORIGINAL_DST of its IPv6 twin
_MAPPED: Final = "::ffff:"


def judge(seen: bytes) -> str:
    """What a connection speaks that begins with these bytes, at least one."""
    if seen[0] == _HANDSHAKE:
        if len(seen) > 1 and seen[1] != 3:
            return OTHER
        if len(seen) < 6:
            return MORE
        return TLS if seen[5] == _CLIENT_HELLO else OTHER
    if PREFACE.startswith(seen[: len(PREFACE)]):
        return HTTP2 if len(seen) >= len(PREFACE) else MORE
    space = seen.find(b" ", 0, LONGEST_METHOD)
    if space > 0 and _TOKEN.issuperset(seen[:space]):
        return _request_line(seen, space + 1)
    return MORE if space < 0 and len(seen) < LONGEST_METHOD and _TOKEN.issuperset(seen) else OTHER


def _request_line(seen: bytes, at: int) -> str:
    """A word, a space, and what follows: a request's line if it ends in a version of HTTP."""
    first = seen[at : at + 1]
    if not first:
        return MORE
    if first not in b"/*[" and not first.isalnum():
        return OTHER
    end = seen.find(b"\n", at, LONGEST_LINE)
    if end < 0:
        return MORE if len(seen) < LONGEST_LINE else HTTP1 if first == b"/" else OTHER
    if b" HTTP/" not in seen[at:end]:
        return OTHER
    return HTTP1 if first in b"/*" else TO_PROXY


def server_name(seen: bytes) -> str:
    """The host that a ClientHello asks for; "" if there is none, it is not whole, or it cannot be read."""
    found = _extension(seen, _SERVER_NAME)
    if len(found) < 5:
        return ""
    length = int.from_bytes(found[3:5], "big")
    name = found[5 : 5 + length]
    return name.decode("ascii") if len(name) == length <= 255 and name.isascii() else ""


def alpn(seen: bytes) -> tuple[str, ...] | None:
    """The protocols that a ClientHello offers by ALPN. None: not all of it is here yet. (): none, or it is no TLS.

    A hello in more than one record is nobody's that we know: it offers nothing.
    """
    for at, wanted in ((0, _HANDSHAKE), (1, 3), (5, _CLIENT_HELLO)):
        if len(seen) > at and seen[at] != wanted:
            return ()
    if len(seen) < 5:
        return None
    if (size := int.from_bytes(seen[3:5], "big")) > LONGEST_RECORD:
        return ()
    if len(seen) < 5 + size:
        return None
    listed = _extension(seen[: 5 + size], _ALPN)
    names, at = [], 2
    while at < len(listed):
        end = at + 1 + listed[at]
        names.append(listed[at + 1 : end].decode("latin-1"))
        at = end
    return tuple(names)


def _extension(seen: bytes, wanted: int) -> bytes:
    """The content of a ClientHello's extension (RFC 8446 section 4.1.2); b"" if it has none or cannot be read."""
    try:
        at = 5 + 4 + 2 + 32
        at += 1 + seen[at]  # session id
        at += 2 + int.from_bytes(seen[at : at + 2], "big")  # cipher suites
        at += 1 + seen[at]  # compression
        end = at + 2 + int.from_bytes(seen[at : at + 2], "big")
        at += 2
        while at + 4 <= end:
            kind, size = struct.unpack_from(">HH", seen, at)
            at += 4
            if kind == wanted:
                return seen[at : at + size]
            at += size
    except (IndexError, struct.error):
        pass
    return b""


def caller(transport: BaseTransport) -> Peer:
    """Who has called, and in `destination` where it wanted to go: NAMELESS if nobody redirected the connection."""
    name = transport.get_extra_info("peername")
    own = transport.get_extra_info("sockname")
    peer = Peer(unmapped(name[0]), name[1]) if isinstance(name, tuple) else Peer()
    peer.destination = NAMELESS
    if isinstance(own, tuple):
        at = (unmapped(own[0]), own[1])
        found = original(transport.get_extra_info("socket"), at[0])
        peer.destination = NAMELESS if found == at else found
    return peer


def original(sock: Any, own: str) -> tuple[str, int]:
    """Where a connection was sent before the redirect; NAMELESS when it was not redirected.

    `own` is the address that it arrived at: its family decides whom to ask, for an IPv4 caller of a "::" socket, too.
    """
    try:
        if ":" in own:
            raw = sock.getsockopt(socket.IPPROTO_IPV6, _ORIGINAL_DST, 28)
            return socket.inet_ntop(socket.AF_INET6, raw[8:24]), int.from_bytes(raw[2:4], "big")
        raw = sock.getsockopt(socket.IPPROTO_IP, _ORIGINAL_DST, 16)
        return socket.inet_ntop(socket.AF_INET, raw[4:8]), int.from_bytes(raw[2:4], "big")
    except (OSError, AttributeError):  # ENOENT: nothing is tracked, so nothing was redirected
        return NAMELESS


def unmapped(address: str) -> str:
    """An IPv4 caller of a socket that takes both families is an IPv4 caller."""
    return address[len(_MAPPED) :] if address.startswith(_MAPPED) and "." in address else address
