"""A Service's port as callers see it: its names, and the routes there. Resource name: `service/<ns>/<name>:<port>`."""

from __future__ import annotations

from typing import Literal

import msgspec


class ServiceSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One (Service, port).

    `routes` are RouteSpec names in the Gateway API's order of precedence (oldest first, then namespace/name). With at
    least
    one, a request that none of them matches is answered 404; without any, all requests go to `backend`.
    """

    name: str  # "bookinfo/reviews:9080"
    namespace: str
    port: int
    domains: tuple[
        str, ...
    ] = ()  # lower-case host names: "reviews", "reviews.bookinfo", "reviews.bookinfo.svc.cluster.local"
    addresses: tuple[str, ...] = ()  # ClusterIPs, load-balancer ingress and external IPs: IP literals, no port
    headless: bool = False  # no address of its own: found by its endpoints' addresses, sent to the one dialled
    # What is spoken there. "": told by the first bytes. "HTTP": never relayed as TCP. "TCP": never looked into.
    protocol: Literal["", "HTTP", "TCP"] = ""
    any_port: bool = False  # the domains hold whatever port the authority names (a gateway's names)
    routes: tuple[str, ...] = ()
    backend: str = ""  # the Service's own BackendSpec
    policy: str = ""  # name of the PolicySpec that callers must meet; "": none
