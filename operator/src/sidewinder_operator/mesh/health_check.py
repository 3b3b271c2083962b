"""Section `healthCheck`, as meant: how endpoints are asked whether they are well, and who asks whom."""

from __future__ import annotations

import msgspec

from sidewinder_operator.mesh.origin import Origin


class MeshHealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """`path` "": a connection is enough. Times are seconds, thresholds answers in a row."""

    path: str = ""
    statuses: tuple[int, ...] = ()
    interval: float
    timeout: float
    healthy: int
    unhealthy: int


class MeshProbed(msgspec.Struct, frozen=True, gc=False):
    """An endpoint as its probers know it: nothing of what their own verdicts change."""

    uid: str
    address: str
    port: int
    identity: str = ""


class MeshCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What one prober does for one Service's port. `origins`: whose status waits until it does."""

    port: str  # the MeshPort's name
    authority: str  # whom a request is for: "reviews.bookinfo:9080"
    section: MeshHealthCheck
    endpoints: tuple[MeshProbed, ...]
    origins: tuple[Origin, ...] = ()
