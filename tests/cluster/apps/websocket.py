"""An echo over WebSocket (RFC 6455): the handshake's answer and frames both ways.

Called by echo.py when a request asks for the upgrade, and by tests as a client; calls nothing.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # of the RFC: proves that the server understood the handshake
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FINAL, MASKED = 0x80, 0x80


def accept(key: str) -> str:
    """The value of Sec-WebSocket-Accept for the client's key."""
    return base64.b64encode(hashlib.sha1((key + GUID).encode(), usedforsecurity=False).digest()).decode()


def _masked(data: bytes, mask: bytes) -> bytes:
    repeated = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(data), "big")


def frame(opcode: int, data: bytes, *, client: bool = False, final: bool = True) -> bytes:
    """One frame; a client's is masked, a server's is not."""
    length, mask_bit = len(data), MASKED if client else 0
    head = bytes([(FINAL if final else 0) | opcode])
    if length < 126:
        head += bytes([mask_bit | length])
    elif length < 1 << 16:
        head += bytes([mask_bit | 126]) + length.to_bytes(2, "big")
    else:
        head += bytes([mask_bit | 127]) + length.to_bytes(8, "big")
    if not client:
        return head + data
    mask = os.urandom(4)
    return head + mask + _masked(data, mask)


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """The next frame's opcode, unmasked data, and whether it ends its message."""
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length >= 126:
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
    mask = await reader.readexactly(4) if second & MASKED else b""
    data = await reader.readexactly(length)
    return first & 0x0F, _masked(data, mask) if mask else data, bool(first & FINAL)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send every frame back as it came, answer pings, and close when asked to."""
    opcode = TEXT
    while opcode != CLOSE:
        opcode, data, final = await read_frame(reader)
        writer.write(frame(PONG if opcode == PING else opcode, data, final=final))
        await writer.drain()
