"""TLS put on a connection that bytes were read from already. Called by `downstream`, for a ClientHello that it sniffed.

uvloop's own SSLProtocol, built by hand: `loop.start_tls` loses what was read, and the order of what comes with the
caller's Finished. It is semi-private: uvloop is pinned, and tests/sidecar/tls/test_layer.py feeds it byte by byte.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final, Protocol

from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]  # its stubs leave it out

SHUTDOWN_SECONDS: Final = 1.0  # for the peer's close_notify: nobody waits for it


class Handshake(Protocol):
    """An asyncio.Protocol that hears, too, how the handshake went: it is SSLProtocol's `waiter`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def cancelled(self) -> bool: ...
    def set_result(self, nothing: None) -> None: ...
    def set_exception(self, error: BaseException) -> None: ...


def accept(transport: Any, context: ssl.SSLContext, handshake: Handshake, seen: bytes, seconds: float) -> None:
    """Be the server on `transport`, of which `seen` was read. `handshake` hears of it, perhaps before this returns."""
    loop = asyncio.get_running_loop()
    protocol = SSLProtocol(
        loop,
        handshake,
        context,
        handshake,
        server_side=True,
        call_connection_made=True,
        ssl_handshake_timeout=seconds,
        ssl_shutdown_timeout=SHUTDOWN_SECONDS,
    )
    transport.pause_reading()  # so that the next read goes to the other protocol's buffer
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    while seen and not transport.is_closing():
        buffer = protocol.get_buffer(len(seen))
        size = min(len(buffer), len(seen))
        buffer[:size] = seen[:size]
        protocol.buffer_updated(size)
        seen = seen[size:]
    if not transport.is_closing():
        transport.resume_reading()
