"""Static settings of one proxy process, from the environment: read once by main, before anything listens."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a stranger can make us hold. Bytes and seconds; each default with its reason."""

    request_line: int = 8192  # RFC 9112 section 3 asks for 8000 at least
    header_bytes: int = 65536  # Envoy's 60 KiB; big cookies and tokens fit
    header_count: int = 100  # Envoy's and Apache's default
    head_seconds: float = 10.0  # a head fits a few packets: slower is a slow-loris
    idle_seconds: float = 75.0  # kept-alive downstream connection without a request: nginx's default
    stall_seconds: float = 60.0  # a body or answer of which nothing moves
    upstream_idle_seconds: float = 4.0  # below the 5 s after which Node.js and uvicorn close: no stale connection
    connections: int = 4096  # downstream, per process: 25 KB each over TLS is 100 MB
    pipelined: int = 16  # requests waiting on one connection before reading stops
    linger_seconds: float = 2.0  # a close with unsent bytes and a peer that does not read
    drain_seconds: float = 30.0  # SIGTERM to exit: Kubernetes' default grace period
