"""Callers that do harm: those that only hold a connection, are slow, read nothing, leave in the middle.

Faults of `matrix`, called as all of them are: with a bed under load, and `hold(share)` to wait for that share of time.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
import threading
from collections.abc import Callable

from tests.chaos.bed import Bed, limit, until

IDLE = 10_000  # connections; fewer where the process may not have so many files
SLOW_CALLERS = 50
DEAF_CALLERS = 40


def idle_connections(bed: Bed, hold: Callable[[float], None]) -> None:
    """Opened and kept, with nothing on them."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for pid in (os.getpid(), bed.proxy.process.pid):
        limit(pid, resource.RLIMIT_NOFILE, files)
    most = min(IDLE, files - 1000)
    before = bed.memory()
    idle: list[socket.socket] = []
    try:
        idle.extend(socket.create_connection(("127.0.0.1", bed.port), 10) for _ in range(most))
        until(lambda: bed.metric("sidewinder_connections") >= most, f"{most} connections")
        hold(1)
        kilobytes = (bed.memory() - before) * 1000 / most
        bed.notes.append(f"{most} connections, {kilobytes:.1f} KB each")
        assert kilobytes < 40, "the limit of connections is reckoned with 35 KB each"
    finally:
        for one in idle:
            one.close()


def slow_callers(bed: Bed, hold: Callable[[float], None]) -> None:
    """Clients that send a byte of a head a second."""
    over = threading.Event()
    slow = [socket.create_connection(("127.0.0.1", bed.port), 10) for _ in range(SLOW_CALLERS)]

    def drip() -> None:
        for byte in b"GET / HTTP/1.1\r\nHost: reviews\r\nX-Slow: ":
            for one in slow:
                with contextlib.suppress(OSError):
                    one.send(bytes((byte,)))
            if over.wait(1.0):
                return

    dripping = threading.Thread(target=drip, daemon=True)
    dripping.start()
    hold(1)
    over.set()
    dripping.join(5)
    for one in slow:
        one.close()


def deaf_callers(bed: Bed, hold: Callable[[float], None]) -> None:
    """Clients that ask for a lot and read nothing of it: 40 MB, if somebody kept it for them."""
    with contextlib.ExitStack() as deaf:
        for _ in range(DEAF_CALLERS):
            one = deaf.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # nor is it the kernel that keeps it
            one.connect(("127.0.0.1", bed.port))
            one.sendall(b"GET /?size=1000000 HTTP/1.1\r\nHost: reviews\r\n\r\n")
            hold(1 / DEAF_CALLERS)
    assert bed.metric("sidewinder_breaker_ejections_total") == 0, "that callers are slow is no endpoint's fault"


def leaving_callers(bed: Bed, hold: Callable[[float], None]) -> None:
    """Clients that leave in the middle: of a head, of a body, of an answer; politely or not."""
    parts = (b"GET / HT", b"PUT / HTTP/1.1\r\nHost: reviews\r\nContent-Length: 90000\r\n\r\n" + bytes(70_000),
             b"GET /?size=500000 HTTP/1.1\r\nHost: reviews\r\n\r\n")  # fmt: skip
    for turn in range(60):
        with socket.create_connection(("127.0.0.1", bed.port), 10) as one:
            one.sendall(parts[turn % 3])
            if turn % 2:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
            hold(1 / 60)
