"""What a request can be sent to. Resource names: `backend/<name>` and `endpoints/<ns>/<service>:<port>`.

A BackendSpec is how to call (the client sections); an EndpointsSpec is who answers. They are resources of their own,
or the churn of endpoints would never let a configuration settle. A policy on a route or rule gives a backend variant
of its own, named `<ns>/<service>:<port>@<route ns>/<route>[/<rule>]`, that shares the endpoints.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class RoundRobin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="RoundRobin"):
    """Smooth weighted round robin."""


class LeastRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="LeastRequest"):
    """Power of two choices over requests in flight (Mitzenmacher 2001)."""


Balancing: TypeAlias = RoundRobin | LeastRequest


class BudgetSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Retries may be `percent` of the requests of the last `interval` seconds,
    but `min_count` per `min_interval` at least.

    Source: Gateway API XBackendTrafficPolicy.retryConstraint (GEP-3388); its defaults, 20 % over 10 s and 10 a second,
    hold for a backend that no policy names.
    """

    percent: int = 20
    interval: float = 10.0
    min_count: int = 10
    min_interval: float = 1.0


class BackendSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a Service's port is called."""

    name: str
    endpoints: str  # the EndpointsSpec's name: "bookinfo/reviews-v1:9080"
    service: str = ""  # for metrics and logs: "bookinfo/reviews-v1"; several variants share it
    balancing: Balancing = LeastRequest()
    budget: BudgetSpec = BudgetSpec()
    connect_timeout: float = 5.0


class EndpointSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One address. `uid` is the pod's (or the address again): a reused IP inherits nothing."""

    uid: str
    address: str
    port: int
    weight: int = 1
    zone: str = ""
    ready: bool = True
    labels: dict[str, str] = {}
    identity: str = ""  # the SPIFFE ID of its proxy, which speaks mTLS; "": plain, as it is
    server_name: str = ""  # ordinary TLS to a host outside, whose certificate must be for this name
    trust: str = ""  # PEM of who signs that certificate; "": whom the system trusts


class EndpointsSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everybody who serves one port of one Service, sorted by uid and address."""

    name: str
    endpoints: tuple[EndpointSpec, ...] = ()
