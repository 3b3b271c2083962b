"""A new mTLS connection a request: handshake, the caller's certificate, one answer, close. Called by scenarios.

No load tool of the distribution shows a client certificate and an ALPN of our own, so the callers are threads of this
process; OpenSSL works outside the interpreter's lock, and only the subject's CPU counts.
"""

from __future__ import annotations

import socket
import statistics
import threading
import time
import urllib.parse

import credentials
from measure import Broken, Pids, Round, cpu_seconds, memory_mb

CALLERS = 4
REQUEST = b"GET /api/1k HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
BODY = 1024


def newcomers(url: str, pids: Pids, seconds: float) -> Round:
    """Full handshakes: no session is resumed, for no two callers are the same one."""
    place = urllib.parse.urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None
    address, times, broken = (place.hostname, place.port), [], []
    before, end = cpu_seconds(pids), time.monotonic() + seconds

    def call() -> None:
        try:
            while time.monotonic() < end and not broken:
                times.append(one(address))
        except (OSError, Broken) as error:
            broken.append(error)

    callers = [threading.Thread(target=call) for _ in range(CALLERS)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    if broken or len(times) < 2:
        raise Broken(f"{url}: {broken[:1]}")
    used = cpu_seconds(pids) - before
    cuts = statistics.quantiles(times, n=100)
    return Round(len(times), used / len(times) * 1e6, memory_mb(pids), cuts[49], cuts[98])


def one(address: tuple[str, int]) -> float:
    """Milliseconds of one connection; anything but a whole 200 is Broken."""
    started = time.perf_counter()
    with socket.create_connection(address, 10) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else it waits 40 ms for an acknowledgement
        talk = credentials.caller().wrap_socket(plain, server_hostname="bench")
        talk.sendall(REQUEST)
        answer = b""
        while chunk := talk.recv(65536):
            answer += chunk
        talk.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200") or len(body) != BODY:
        raise Broken(head.decode("latin-1"))
    return (time.perf_counter() - started) * 1000
