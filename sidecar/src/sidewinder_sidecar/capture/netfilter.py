"""Rules to the kernel: one nf_tables batch over netlink, applied whole or not at all. Called by main.

No iptables or nft binary is needed, so the image carries none. Numbers are from linux/netfilter/nf_tables.h (registers,
attributes, payload bases), linux/netfilter.h (hooks, verdicts) and linux/netlink.h; they are the kernel's ABI.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable

from sidewinder_sidecar.capture.rules import Family, Network, Rule

TABLE = "sidewinder"
NETLINK_NETFILTER = 12
SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
BATCH_BEGIN, BATCH_END = 16, 17
NEW_TABLE, DELETE_TABLE, NEW_CHAIN, NEW_RULE = 0, 2, 3, 6
REQUEST, ACK, CREATE, APPEND = 0x1, 0x4, 0x400, 0x800
NESTED = 0x8000
NFPROTO: dict[Family, int] = {4: 2, 6: 10}
HOOKS = {"prerouting": 0, "output": 3}
DSTNAT = -100  # priority: where destination NAT belongs (NF_IP_PRI_NAT_DST)
RETURN = -5 & 0xFFFFFFFF
META_L4PROTO, META_SKUID = 16, 10
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2
DESTINATION: dict[int, tuple[int, int]] = {4: (16, 4), 6: (24, 16)}  # offset and length in the IP header
ANSWER_SECONDS = 5.0  # the kernel answers at once; waiting for ever would hang the pod's start


class Refused(Exception):
    """The kernel does not take the rules; the text says what it said and what may help."""


def attribute(kind: int, value: bytes | str) -> bytes:
    """One netlink attribute: length, type, value, padding to four bytes."""
    data = value.encode() + b"\0" if isinstance(value, str) else value
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def nest(kind: int, *inside: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | NESTED, b"".join(inside))


def number(kind: int, value: int) -> bytes:
    """A 32-bit attribute: big-endian, as all of nf_tables."""
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def expression(name: str, *attributes: bytes) -> bytes:
    """One step of a rule. Register 1 carries what is compared; register 0 is the verdict."""
    return nest(1, attribute(1, name), nest(2, *attributes))


def equals(value: bytes) -> bytes:
    """Go on only if register 1 holds this."""
    return expression("cmp", number(1, 1), number(2, 0), nest(3, attribute(1, value)))


def meta(key: int) -> bytes:
    """A fact about the packet into register 1."""
    return expression("meta", number(1, 1), number(2, key))


def payload(header: int, offset: int, length: int) -> bytes:
    """Bytes of the packet into register 1."""
    return expression("payload", number(1, 1), number(2, header), number(3, offset), number(4, length))


def is_tcp() -> bytes:
    """Go on only for TCP."""
    return meta(META_L4PROTO) + equals(bytes([socket.IPPROTO_TCP]))


def is_to(network: Network) -> bytes:
    """Go on only if the destination lies in the network."""
    offset, length = DESTINATION[network.version]
    mask = network.netmask.packed
    masked = expression(
        "bitwise",
        number(1, 1),
        number(2, 1),
        number(3, length),
        nest(4, attribute(1, mask)),
        nest(5, attribute(1, bytes(length))),
    )
    return payload(NETWORK_HEADER, offset, length) + masked + equals(network.network_address.packed)


def is_to_port(port: int) -> bytes:
    """Go on only if the TCP destination port is this one."""
    return is_tcp() + payload(TRANSPORT_HEADER, 2, 2) + equals(struct.pack(">H", port))


def redirect(port: int) -> bytes:
    """Count the connection and lead it to a local port."""
    loaded = expression("immediate", number(1, 1), nest(2, attribute(1, struct.pack(">H", port))))
    return is_tcp() + expression("counter") + loaded + expression("redir", number(1, 1))


def leave_alone() -> bytes:
    """Return from the chain."""
    return expression("immediate", number(1, 0), nest(2, nest(2, number(1, RETURN))))


def steps(rule: Rule) -> bytes:
    """A rule's conditions and what follows from them."""
    parts = []
    if rule.uid is not None:
        parts.append(meta(META_SKUID) + equals(struct.pack("=I", rule.uid)))
    if rule.network is not None:
        parts.append(is_to(rule.network))
    if rule.port is not None:
        parts.append(is_to_port(rule.port))
    parts.append(redirect(rule.redirect) if rule.redirect else leave_alone())
    return b"".join(parts)


class Batch:
    """Messages that the kernel applies together."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def add(self, kind: int, family: Family, flags: int, *attributes: bytes) -> None:
        """One message; its sequence number is its place."""
        body = struct.pack(">BBH", NFPROTO[family], 0, 0) + b"".join(attributes)
        flags |= REQUEST | ACK
        sequence = len(self.messages) + 1
        self.messages.append(struct.pack("=IHHII", 16 + len(body), SUBSYSTEM | kind, flags, sequence, 0) + body)

    def table(self, family: Family, rules: Iterable[Rule]) -> None:
        """Our table anew: made if it was not there, emptied if it was."""
        name = attribute(1, TABLE)
        self.add(NEW_TABLE, family, CREATE, name)
        self.add(DELETE_TABLE, family, 0, name)
        self.add(NEW_TABLE, family, CREATE, name)
        for chain, hook in HOOKS.items():
            where = nest(4, number(1, hook), number(2, DSTNAT))
            self.add(NEW_CHAIN, family, CREATE, name, attribute(3, chain), where, attribute(7, "nat"))
        for rule in rules:
            self.add(NEW_RULE, family, CREATE | APPEND, name, attribute(2, rule.chain), nest(4, steps(rule)))

    def remove(self, family: Family) -> None:
        """Our table and all in it; it must be there."""
        self.add(DELETE_TABLE, family, 0, attribute(1, TABLE))

    def send(self) -> None:
        """Have it applied. Raises Refused."""
        try:
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER) as kernel:
                kernel.bind((0, 0))
                kernel.settimeout(ANSWER_SECONDS)
                kernel.send(_edge(BATCH_BEGIN) + b"".join(self.messages) + _edge(BATCH_END))
                self._await(kernel)
        except TimeoutError:
            raise Refused(f"the kernel did not answer within {ANSWER_SECONDS:g} s") from None
        except OSError as fault:
            raise Refused(_explained(fault)) from None

    def _await(self, kernel: socket.socket) -> None:
        """One acknowledgement a message; the first error ends it, and nothing has been applied then."""
        waiting = len(self.messages)
        while waiting:
            data = kernel.recv(1 << 16)
            while len(data) >= 20:
                length, _, _, sequence, _, code = struct.unpack_from("=IHHIIi", data)
                if code:
                    raise OSError(-code, f"{os.strerror(-code)} (message {sequence} of {len(self.messages)})")
                waiting -= 1
                data = data[(length + 3) & ~3 :]


def _edge(kind: int) -> bytes:
    return struct.pack("=IHHIIBBH", 20, kind, REQUEST, 0, 0, 0, 0, socket.htons(SUBSYSTEM >> 8))


_HINTS = {
    errno.EPERM: "the container needs the capability NET_ADMIN and must run as uid 0",
    errno.EPROTONOSUPPORT: "this kernel has no nf_tables",
    errno.EAFNOSUPPORT: "this kernel has no nf_tables for the address family",
    errno.ENOENT: "this kernel lacks a part of nf_tables (nft_redir, nft_chain_nat)",
    errno.EOPNOTSUPP: "this kernel lacks a part of nf_tables (nft_redir, nft_chain_nat)",
}


def _explained(fault: OSError) -> str:
    hint = _HINTS.get(fault.errno or 0)
    return f"{fault.strerror or fault}: {hint}" if hint else str(fault.strerror or fault)
