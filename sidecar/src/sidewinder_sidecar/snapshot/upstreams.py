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


class Random(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="Random"):
    """Any endpoint, by weight."""


class PeakEWMA(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="PeakEWMA"):
    """Power of two choices over expected latency: a moving average that jumps up at once, falls over `decay` seconds,
    times requests in flight and one more. `start` seconds are what is expected of an endpoint nobody has measured.

    Source: Finagle's PeakEwma; its decay of 10 s, and Linkerd's first guess of 30 ms.
    """

    decay: float = 10.0
    start: float = 0.03


class HeaderKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="Header"):
    """The first value of a header."""

    name: str


class CookieKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="Cookie"):
    """A cookie's value; a caller without one is given one, for `ttl` seconds, 0 for as long as the browser runs."""

    name: str
    ttl: int = 0


class SourceKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="Source"):
    """The caller's address, after trusted hops. The only key that a relayed connection has."""


class ClaimKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="Claim"):
    """A verified claim, as this proxy's own authentication found it."""

    name: str


HashKey: TypeAlias = HeaderKey | CookieKey | SourceKey | ClaimKey


class RingHash(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="RingHash"):
    """A hash ring (ketama). `keys` in order: the first that a request has. `balance_factor`: percent of the mean load
    that one endpoint may have, 0 for any (Mirrokni, Thorup and Zadimoghaddam 2018)."""

    keys: tuple[HashKey, ...] = ()
    min_size: int = 1024
    max_size: int = 262_144
    balance_factor: int = 0


class Maglev(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="Maglev"):
    """Maglev's lookup table of a prime size (Eisenbud 2016); the rest as in RingHash."""

    keys: tuple[HashKey, ...] = ()
    table_size: int = 65_537
    balance_factor: int = 0


Balancing: TypeAlias = RoundRobin | LeastRequest | Random | PeakEWMA | RingHash | Maglev


class LocalitySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Endpoints of the proxy's own zone first, then the zones of `failover` in order, then all others."""

    failover: tuple[str, ...] = ()


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


class FailureRateSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """So many of the last `interval` seconds' tries failed, of `min_requests` at least: fewer tell nothing."""

    percent: int = 50
    interval: float = 10.0
    min_requests: int = 20


class BreakerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When an endpoint is ejected, and for how long. 0 consecutive failures: these alone never do.

    Five in a row, half of the endpoints at most and five seconds at first are what Envoy's outlier detection and
    Linkerd's failure accrual come down to; at 30 % left, those who are left would fall next.
    """

    consecutive: int = 5
    rate: FailureRateSpec | None = None
    conditions: tuple[str, ...] = ("ConnectFailure", "Reset", "Timeout")
    codes: tuple[int, ...] = (500, 502, 503, 504)
    open_seconds: float = 5.0
    max_open_seconds: float = 300.0
    max_ejected_percent: int = 50
    min_healthy_percent: int = 30


class LimitsSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The most at a time, of one proxy. `pending`: connections that are being made. 0: any number."""

    requests: int = 0
    pending: int = 0
    connections: int = 0


class ConcurrencySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of all endpoints together, and of each."""

    whole: LimitsSpec = LimitsSpec()
    endpoint: LimitsSpec = LimitsSpec()


class BackendSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a Service's port is called."""

    name: str
    endpoints: str  # the EndpointsSpec's name: "bookinfo/reviews-v1:9080"
    service: str = ""  # for metrics and logs: "bookinfo/reviews-v1"; several variants share it
    balancing: Balancing = LeastRequest()
    slow_start: float = 0.0  # seconds over which who has just become usable comes to its whole share; 0.0: at once
    subset: dict[str, str] = {}  # only endpoints with these labels; empty: all
    locality: LocalitySpec | None = None  # None: zones do not matter
    budget: BudgetSpec = BudgetSpec()
    breaker: BreakerSpec | None = None  # None: nobody is ejected
    concurrency: ConcurrencySpec | None = None  # None: any number
    connect_timeout: float = 5.0


class EndpointSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One address. `uid` is the pod's (or the address again): a reused IP inherits nothing."""

    uid: str
    address: str
    port: int
    weight: int = 1
    zone: str = ""
    ready: bool = True
    healthy: bool = True  # what most of those say who check it; True where nobody does, or has said anything yet
    labels: dict[str, str] = {}
    identity: str = ""  # the SPIFFE ID of its proxy, which speaks mTLS; "": plain, as it is
    server_name: str = ""  # ordinary TLS to a host outside, whose certificate must be for this name
    trust: str = ""  # PEM of who signs that certificate; "": whom the system trusts


class EndpointsSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everybody who serves one port of one Service, sorted by uid and address."""

    name: str
    endpoints: tuple[EndpointSpec, ...] = ()
