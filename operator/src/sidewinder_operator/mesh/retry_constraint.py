"""Section `retryConstraint`, as meant: the budget in which all retries to a backend stay."""

from __future__ import annotations

import msgspec


class MeshRetryConstraint(msgspec.Struct, frozen=True, kw_only=True):
    """`percent` of the requests of the last `interval` seconds, but `min_count` per `min_interval` at least."""

    percent: int
    interval: float
    min_count: int
    min_interval: float
