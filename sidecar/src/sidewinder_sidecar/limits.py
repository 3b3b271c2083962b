"""What a stranger can make a proxy hold, and for how long: bounds that come with the process, not with a snapshot.

Part of `settings`, which reads them from the environment; every connection and exchange has them.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a stranger can make us hold. Bytes and seconds; each default with its reason."""

    request_line: Annotated[
        int, Meta(ge=1024, le=1 << 20, description="Longest request line. RFC 9112 section 3 asks for 8000 at least.")
    ] = 8192
    header_bytes: Annotated[
        int,
        Meta(ge=1024, le=1 << 24, description="All header fields together. Envoy's 60 KiB; cookies and tokens fit."),
    ] = 65536
    header_count: Annotated[
        int, Meta(ge=8, le=10_000, description="Header fields of a message. Envoy's and Apache's default.")
    ] = 100
    head_seconds: Annotated[
        Seconds, Meta(description="Time for a whole head. It fits a few packets: slower is a slow-loris.")
    ] = 10.0
    idle_seconds: Annotated[
        Seconds, Meta(description="A kept-alive connection of a caller without a request. nginx's default.")
    ] = 75.0
    stall_seconds: Annotated[Seconds, Meta(description="A body or an answer of which nothing moves.")] = 60.0
    tunnel_idle_seconds: Annotated[
        Seconds,
        Meta(description="A relayed connection, WebSocket or CONNECT tunnel of which nothing moves. Envoy's for TCP."),
    ] = 3600.0
    upstream_idle_seconds: Annotated[
        Seconds,
        Meta(
            description="A pooled connection to an upstream. Below the 5 s after which Node.js and uvicorn close, "
            "so that no request meets a connection that is being closed. To another proxy of the mesh the one used "
            "last rests for a minute."
        ),
    ] = 4.0
    connection_age_seconds: Annotated[
        Seconds,
        Meta(
            description="Age of a caller's connection, give or take a tenth, from which its next answer says "
            "`Connection: close`: so callers spread over new proxies. nginx's keepalive_time."
        ),
    ] = 3600.0
    upstream_age_seconds: Annotated[
        Seconds,
        Meta(
            description="Age of a pooled connection, give or take a tenth, from which it takes no further request: "
            "behind one address may stand others by then. As long as callers' connections."
        ),
    ] = 3600.0
    stream_seconds: Annotated[
        float,
        Meta(
            gt=0,
            le=604_800,
            description="A request with its answer, a tunnel or a relayed connection from its first byte to its last, "
            "however much moves. A week: only what nobody remembers lasts longer.",
        ),
    ] = 604_800.0
    handshake_seconds: Annotated[
        Seconds, Meta(description="TLS with another proxy: two round trips, lost packets.")
    ] = 5.0
    handshakes: Annotated[Count, Meta(description="TLS handshakes of callers at a time: 1 ms and 30 KB each.")] = 512
    connections: Annotated[
        Count, Meta(description="Connections of callers, per process. 42 KB each over mutual TLS is 172 MB.")
    ] = 4096
    pipelined: Annotated[
        int, Meta(ge=1, le=1000, description="Requests waiting on one connection before reading stops.")
    ] = 16
    linger_seconds: Annotated[Seconds, Meta(description="A close with unsent bytes and a peer that does not read.")] = (
        2.0
    )
    drain_seconds: Annotated[
        Seconds,
        Meta(
            description="SIGTERM to exit at the latest, and how long `GET /drain` holds back the end of an application "
            "that answers requests: half of it for WebSockets. Kubernetes' default grace period."
        ),
    ] = 30.0
    retire_seconds: Annotated[
        Seconds,
        Meta(
            description="How long `GET /drain` holds back the end of an application at the latest, while those who "
            "knew its pod learn that it goes. A third of the grace period."
        ),
    ] = 10.0
