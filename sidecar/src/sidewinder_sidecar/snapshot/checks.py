"""What a proxy finds out for the whole mesh: which endpoints are well. Resource name: `checks/self`, its own alone.

Each endpoint is given to three proxies (the operator's `compile.probers`), however many call it. They tell their
verdicts on the stream (`stream.Health`); what most of them say comes back to everybody as `EndpointSpec.healthy`.
"""

from __future__ import annotations

import msgspec

from sidewinder_sidecar.snapshot.upstreams import EndpointSpec

# Endpoints that one proxy looks after: at one check in 5 s each 51 a second, 2 % of a core; and what a session of the
# operator keeps of their verdicts, 64 KB.
MOST_CHECKS = 256
LONGEST_KEY = 640  # characters: a Service's port, a pod's or a process's uid, an address


class HttpCheckSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """GET `path`; one of `statuses` is an answer of who is well."""

    path: str
    statuses: tuple[int, ...] = (200,)


class CheckSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the endpoints of one Service's port are asked. Times are seconds; thresholds are answers in a row."""

    name: str  # of the port: "bookinfo/reviews-v2:9080"
    authority: str = ""  # whom a request is for: "reviews-v2.bookinfo:9080"
    http: HttpCheckSpec | None = None  # None: a connection that is kept is enough
    interval: float = 5.0
    timeout: float = 1.0
    healthy: int = 2
    unhealthy: int = 3
    endpoints: tuple[EndpointSpec, ...] = ()


class ChecksSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that this proxy checks, by name."""

    checks: tuple[CheckSpec, ...] = ()


def key(name: str, uid: str, address: str, port: int) -> str:
    """What names an endpoint of a Service's port in verdicts, the same on both sides."""
    return f"{name} {uid} {address} {port}"
