"""Section `loadBalancing`, as meant: how a caller's proxy chooses among a backend's endpoints."""

from __future__ import annotations

import msgspec

from sidewinder_sidecar.snapshot.upstreams import Balancing, LocalitySpec


class MeshLoadBalancing(msgspec.Struct, frozen=True, kw_only=True):
    """The algorithm as sidecars know it, and what holds for each; where no policy says, the sidecar's default does."""

    balancing: Balancing
    slow_start: float = 0.0
    subset: dict[str, str] = {}
    locality: LocalitySpec | None = None
