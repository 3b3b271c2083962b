"""DNS for a chaos run: A of the names it has (RFC 1035, as much as a resolver needs), and two ways of being away.

Used by `bed`, on the port of its own network namespace. Belongs to one loop; `mood` may be set from any thread.
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import Mapping
from typing import Any

PORT = 53
ANSWERS, SILENT, FAILS = "answers", "silent", "fails"
_A = 1
_NO_NAME, _SERVER_FAILURE = 3, 2
_HEADER = struct.Struct("!HHHHHH")


class NameServer(asyncio.DatagramProtocol):
    """`asked` counts questions."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.mood = ANSWERS
        self.asked = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, address: str, port: int = PORT) -> int:
        """Listen; the port."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(address, port))
        there: int = self._transport.get_extra_info("sockname")[1]
        return there

    async def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.asked += 1
        if self.mood != SILENT and self._transport is not None:
            self._transport.sendto(answer(data, self.names, self.mood == FAILS), addr)


def answer(query: bytes, names: Mapping[str, str], fails: bool = False) -> bytes:
    """The response to a query of one question."""
    number, flags, *_ = _HEADER.unpack_from(query)
    labels, place = [], _HEADER.size
    while size := query[place]:
        labels.append(query[place + 1 : place + 1 + size].decode())
        place += 1 + size
    question = query[_HEADER.size : place + 5]
    kind = struct.unpack_from("!H", query, place + 1)[0]
    address = names.get(".".join(labels).lower())
    code = _SERVER_FAILURE if fails else 0 if address else _NO_NAME
    found = b""
    if address and kind == _A and not fails:
        found = struct.pack("!HHHIH", 0xC00C, _A, 1, 0, 4) + ipaddress.IPv4Address(address).packed
    head = _HEADER.pack(number, 0x8180 | (flags & 0x0100) | code, 1, 1 if found else 0, 0, 0)
    return head + question + found
