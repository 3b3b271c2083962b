"""Section `adaptiveConcurrency`, as meant."""

from __future__ import annotations

import msgspec


class MeshAdaptiveConcurrency(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds; the header in lower case, "" for none. `target`: what it is attached to, of the policy's targets."""

    target_latency: float
    priority_header: str = ""
    least: int
    most: int
    target: str = ""
