"""What every server among the test applications does alike: listen, say so, and end on SIGTERM.

Called by __main__.py; calls events.py. `LINGER` seconds pass between the signal and the end, as with an application
that finishes its work; connections stay open meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl

from . import events, http1


async def serve(connection: http1.Connection, port: int, tls: ssl.SSLContext | None = None) -> None:
    """Serve until SIGTERM or SIGINT, on every address of either family."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    # A backlog of 1024: a load client opens all its connections at once.
    server = await asyncio.start_server(connection, None, port, ssl=tls, limit=http1.HEAD_LIMIT, backlog=1024)
    print(events.record("starts"), flush=True)
    await asked.wait()
    print(events.record("SIGTERM"), flush=True)
    await asyncio.sleep(float(os.environ.get("LINGER", "0")))
    server.close()
    print(events.record("ends"), flush=True)
