"""Whether something that was just started answers yet: over TCP, or with an HTTP status. Asked by `replicas`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import msgspec


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask, how often, and how long one answer may take. Without a path, accepting is enough."""

    port: int
    address: str = "127.0.0.1"
    path: str = ""
    statuses: Collection[int] = (200,)
    interval: float = 0.25
    timeout: float = 1.0

    def __str__(self) -> str:
        where = f"{self.address}:{self.port}"
        return f"GET http://{where}{self.path}" if self.path else f"a connection to {where}"


async def answers(check: Check) -> bool:
    """Asks once."""
    try:
        return await asyncio.wait_for(_ask(check), check.timeout)
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
        return False


async def until_ready(check: Check) -> None:
    """Asks until it answers."""
    while not await answers(check):  # noqa: ASYNC110 (another process rings no bell)
        await asyncio.sleep(check.interval)


async def _ask(check: Check) -> bool:
    reader, writer = await asyncio.open_connection(check.address, check.port, limit=16384)
    try:
        if not check.path:
            return True
        host = f"{check.address}:{check.port}"
        writer.write(f"GET {check.path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        line = await reader.readuntil(b"\n")
        version, status, *_ = line.split()
        return version.startswith(b"HTTP/1.") and int(status) in check.statuses
    finally:
        writer.transport.abort()
