"""Section `circuitBreaker`, as meant: when a caller's proxy ejects an endpoint, and for how long."""

from __future__ import annotations

import msgspec


class MeshFailureRate(msgspec.Struct, frozen=True, kw_only=True):
    """`percent` of the tries of the last `interval` seconds, of `min_requests` at least."""

    percent: int
    interval: float
    min_requests: int


class MeshCircuitBreaker(msgspec.Struct, frozen=True, kw_only=True):
    """Field by field what the sidecar's BreakerSpec says; times are seconds."""

    consecutive: int
    rate: MeshFailureRate | None
    conditions: tuple[str, ...]
    codes: tuple[int, ...]
    open_seconds: float
    max_open_seconds: float
    max_ejected_percent: int
    min_healthy_percent: int
