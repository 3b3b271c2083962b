"""Section `concurrency`, as meant: the most that one proxy asks of a backend at a time."""

from __future__ import annotations

import msgspec


class MeshLimits(msgspec.Struct, frozen=True, kw_only=True):
    """0: any number."""

    requests: int = 0
    pending: int = 0
    connections: int = 0


class MeshConcurrency(msgspec.Struct, frozen=True, kw_only=True):
    """Of all endpoints together, and of each."""

    whole: MeshLimits = MeshLimits()
    endpoint: MeshLimits = MeshLimits()
