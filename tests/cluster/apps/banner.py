"""A TCP server that speaks first, as mail servers and databases do, and repeats what it is told.

Called by __main__.py and the tests; calls nothing. A proxy that waits for the client's first bytes would wait for ever.
"""

from __future__ import annotations

import asyncio
import os
import socket

NAME = os.environ.get("POD") or socket.gethostname()


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A greeting at once; then `250` and the line for each line, until `QUIT` or the end."""
    writer.write(f"220 {NAME} ready\r\n".encode())
    try:
        while line := await reader.readline():
            word = line.strip()
            writer.write(b"221 bye\r\n" if word == b"QUIT" else b"250 " + word + b"\r\n")
            await writer.drain()
            if word == b"QUIT":
                break
    except ConnectionError:
        pass
    finally:
        writer.close()
