"""A rule as the data path wants it: everything that depends only on configuration, worked out. Made by `plan/routes`.

`Route` is one match of one rule (a path prefix replacement depends on the match). Held by the router's index and, from
the match on, by the exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from sidewinder_sidecar.messages import Call, Reply, Response, Wait
from sidewinder_sidecar.resilience import retry
from sidewinder_sidecar.router.split import Split

if TYPE_CHECKING:
    from sidewinder_sidecar.router.stickiness import Sticky
    from sidewinder_sidecar.upstream.backend import Backend

RequestFilter: TypeAlias = Callable[[Call], Reply | Wait | None]
ResponseFilter: TypeAlias = Callable[[Call, Response], None]
BodyFilter: TypeAlias = Callable[[Call], Any]  # has feed(data) -> bytes and end() -> bytes | Reply


class Share:
    """A backend's part of a rule. `backend` is None for an invalid one, `invalid` says why."""

    __slots__ = ("backend", "filters", "invalid", "name", "response_filters", "weight")

    def __init__(
        self,
        backend: Backend | None,
        weight: int = 1,
        filters: tuple[RequestFilter, ...] = (),
        response_filters: tuple[ResponseFilter, ...] = (),
        invalid: str = "",
    ) -> None:
        self.backend = backend
        self.weight = weight
        self.filters = filters
        self.response_filters = response_filters
        self.invalid = invalid
        self.name = backend.name if backend is not None else ""

    def __repr__(self) -> str:
        return f"<Share {self.name or 'invalid'} {self.weight}>"


class Route:
    """`only` is the share of a rule that leaves no choice: no split and no stickiness to ask."""

    __slots__ = (
        "backend_timeout",
        "filters",
        "name",
        "only",
        "request_body",
        "request_timeout",
        "response_body",
        "response_filters",
        "retry",
        "rule",
        "shares",
        "split",
        "stickiness",
    )

    def __init__(
        self,
        name: str,
        rule: str = "",
        *,
        shares: tuple[Share, ...] = (),
        filters: tuple[RequestFilter, ...] = (),
        response_filters: tuple[ResponseFilter, ...] = (),
        split: Split | None = None,
        stickiness: Sticky | None = None,
        request_timeout: float | None = None,
        backend_timeout: float | None = None,
        policy: retry.Policy = retry.NONE,
    ) -> None:
        self.name = name
        self.rule = rule
        self.shares = shares
        self.filters = filters
        self.response_filters = response_filters
        self.request_body: tuple[BodyFilter, ...] = ()
        self.response_body: tuple[BodyFilter, ...] = ()
        self.split = split or Split(shares)
        self.stickiness = stickiness
        self.request_timeout = request_timeout
        self.backend_timeout = backend_timeout
        self.retry = policy
        self.only = shares[0] if len(shares) == 1 and shares[0].weight > 0 and stickiness is None else None

    def __repr__(self) -> str:
        return f"<Route {self.name} {self.rule} {' '.join(map(repr, self.shares))}>"
