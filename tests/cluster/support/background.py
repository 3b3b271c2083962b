"""A server of the test applications in this process, in a thread of its own.

Called by unit tests of the applications and by tests that need a server outside the cluster; calls asyncio.
"""

from __future__ import annotations

import asyncio
import queue
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.cluster.apps import http1

LIMIT = 10  # seconds for start and end; both take milliseconds


@contextmanager
def serving(connection: http1.Connection, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server that ends with the block."""
    started: queue.Queue[tuple[int, Callable[[], object]]] = queue.Queue()

    async def listen() -> None:
        asked, loop = asyncio.Event(), asyncio.get_running_loop()
        server = await asyncio.start_server(connection, host, 0, ssl=tls, limit=http1.HEAD_LIMIT)
        started.put((server.sockets[0].getsockname()[1], lambda: loop.call_soon_threadsafe(asked.set)))
        await asked.wait()
        server.close()

    # asyncio.run cancels what still talks when listen() returns.
    thread = threading.Thread(target=lambda: asyncio.run(listen()), daemon=True)
    thread.start()
    port, stop = started.get(timeout=LIMIT)
    try:
        yield port
    finally:
        stop()
        thread.join(LIMIT)
