"""Section `loadBalancing`, as meant: how a caller's proxy chooses among a backend's endpoints."""

from __future__ import annotations

from typing import Literal

import msgspec

Algorithm = Literal["RoundRobin", "LeastRequest"]


class MeshLoadBalancing(msgspec.Struct, frozen=True, kw_only=True):
    """The algorithm; where no policy names one, the sidecar's default holds."""

    algorithm: Algorithm
