"""The section `loadBalancing`: which endpoint of a backend the next request goes to."""

from __future__ import annotations

from math import isqrt
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, holds, union, within
from sidewinder_operator.resources.meta import Strict
from sidewinder_operator.resources.names import CookieName, HeaderName, LabelName, LabelValue
from sidewinder_operator.resources.quantity import Duration
from sidewinder_operator.resources.section import Merging, Section, Side

# The largest table and ring: 10 MB and 80 MB in each proxy that calls. Envoy allows as much.
MOST_PLACES = 5_000_011
MOST_POINTS = 8_388_608


class HeaderHashKey(Strict, frozen=True, kw_only=True):
    """A header."""

    name: Annotated[HeaderName, Meta(description="The header's name; its first value counts.")]


class CookieHashKey(Strict, frozen=True, kw_only=True):
    """A cookie, which the proxy sets where a request has none."""

    name: Annotated[CookieName, Meta(description="The cookie's name.")]
    ttl: Annotated[
        Duration, Meta(description="How long a cookie holds that the proxy sets; 0s: until the browser ends.")
    ] = "0s"


class ClaimHashKey(Strict, frozen=True, kw_only=True):
    """A claim that the calling proxy has verified itself: a gateway's, for who calls in from outside."""

    name: Annotated[
        str, Meta(min_length=1, max_length=256, description="The claim, or a path such as `realm_access.id`.")
    ]


class HashKey(Strict, frozen=True, kw_only=True):
    """What requests are told apart by."""

    type: Annotated[
        Literal["Header", "Cookie", "Source", "Claim"],
        Meta(description="Source: the caller's address, after trusted hops; relayed TCP has nothing else."),
    ]
    header: Annotated[HeaderHashKey | None, Meta(description="By a header.")] = None
    cookie: Annotated[CookieHashKey | None, Meta(description="By a cookie.")] = None
    claim: Annotated[ClaimHashKey | None, Meta(description="By a verified claim.")] = None

    RULES: ClassVar[tuple[Rule, ...]] = union({"Header": "header", "Cookie": "cookie", "Claim": "claim"})


HashKeys = Annotated[
    tuple[HashKey, ...],
    Meta(
        min_length=1, max_length=8, description="In order: the first that a request has. Without any it goes anywhere."
    ),
]
BalanceFactor = Annotated[
    Annotated[int, Meta(ge=110, le=10_000)] | None,
    Meta(
        description="The most that one endpoint may have in flight, in percent of the mean; more goes to the next. "
        "Without it there is no bound."
    ),
]


class RingHash(Strict, frozen=True, kw_only=True):
    """A hash ring."""

    keys: HashKeys
    min_size: Annotated[
        int, Meta(ge=1, le=MOST_POINTS, description="The least points of the ring, shared by weight.")
    ] = 1024
    max_size: Annotated[
        int, Meta(ge=1, le=MOST_POINTS, description="The most; an endpoint has 128 points if they fit.")
    ] = 262_144
    balance_factor: BalanceFactor = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: self.min_size <= self.max_size,
            "minSize must not be above maxSize",
            cel="self.minSize <= self.maxSize",
            field="minSize",
        ),
    )


class Maglev(Strict, frozen=True, kw_only=True):
    """A lookup table."""

    keys: HashKeys
    table_size: Annotated[
        int,
        Meta(ge=3, le=MOST_PLACES, description="A prime number, best a hundred times as many as there are endpoints."),
    ] = 65_537
    balance_factor: BalanceFactor = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        # CEL cannot count so far.
        holds(
            lambda self: all(self.table_size % divisor for divisor in range(2, isqrt(self.table_size) + 1)),
            "tableSize must be a prime number, such as 5003, 65537 or 655373",
            field="tableSize",
        ),
    )


class PeakEWMA(Strict, frozen=True, kw_only=True):
    """How latency is remembered."""

    decay: Annotated[Duration, Meta(description="Over what time a slow answer is forgotten, 100ms to 1h.")] = "10s"
    start_latency: Annotated[
        Duration, Meta(description="What is expected of an endpoint that nobody has measured, to 1m.")
    ] = "30ms"

    RULES: ClassVar[tuple[Rule, ...]] = (within("decay", "100ms", "1h"), within("startLatency", "0s", "1m"))


class Locality(Strict, frozen=True, kw_only=True):
    """Endpoints of the caller's own zone come first, and others take what those cannot carry."""

    failover: Annotated[
        tuple[LabelValue, ...],
        Meta(max_length=16, description="Zones that come next, in order; all others come last.", extra={"list": "set"}),
    ] = ()


class SubsetLabel(Strict, frozen=True, kw_only=True):
    """A label that an endpoint's pod has."""

    name: Annotated[LabelName, Meta(description="The label's name.")]
    value: Annotated[LabelValue, Meta(description="The label's value.")]


class LoadBalancing(Section, frozen=True, kw_only=True):
    """The choice among a backend's endpoints."""

    SIDE: ClassVar[Side] = "Client"
    MERGING: ClassVar[Merging] = "Replace"
    HTTP: ClassVar[bool] = False
    TARGETS: ClassVar[frozenset[str]] = frozenset({"Mesh", "Namespace", "Service", "Backend", "ApiRoute"})

    type: Annotated[
        Literal["RoundRobin", "LeastRequest", "Random", "PeakEWMA", "RingHash", "Maglev"],
        Meta(
            description="RoundRobin goes round, smoothly by weight. LeastRequest takes of two drawn endpoints the one "
            "with fewer requests in flight; it is what holds without a policy. PeakEWMA takes of two the one that "
            "would answer sooner. RingHash and Maglev send the same key to the same endpoint. Random draws."
        ),
    ]
    peak_ewma: Annotated[PeakEWMA | None, Meta(description="How PeakEWMA remembers latency.")] = msgspec.field(
        name="peakEWMA", default=None
    )
    ring_hash: Annotated[RingHash | None, Meta(description="By what RingHash hashes, and its ring.")] = None
    maglev: Annotated[Maglev | None, Meta(description="By what Maglev hashes, and its table.")] = None
    slow_start: Annotated[
        Duration,
        Meta(description="Over what time an endpoint that is new, or back, comes to its whole share, to 1h; 0s: none."),
    ] = "0s"
    locality: Annotated[Locality | None, Meta(description="Endpoints near the caller first.")] = None
    subset: Annotated[
        tuple[SubsetLabel, ...],
        Meta(max_length=8, description="Only endpoints whose pods have all these labels.", extra={"list": "map"}),
    ] = ()

    RULES: ClassVar[tuple[Rule, ...]] = (
        *union({"RingHash": "ringHash", "Maglev": "maglev"}),
        holds(
            lambda self: self.peak_ewma is None or self.type == "PeakEWMA",
            "peakEWMA belongs to type PeakEWMA and may stand only there",
            cel="has(self.peakEWMA) ? self.type == 'PeakEWMA' : true",
            field="peakEWMA",
        ),
        within("slowStart", "0s", "1h"),
    )
