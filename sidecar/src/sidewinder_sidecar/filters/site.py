"""Where a rule's own filter stands and what it may use. Made by `plan/routes` for each rule, given to the builders.

Filters never import upstream: a mirror gets what opens an attempt from here, by the name of a backend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sidewinder_sidecar.means import Means
from sidewinder_sidecar.messages import Attempt, Receiver, Request
from sidewinder_sidecar.wheel import Wheel

# One try at whichever endpoint is ready; None when none is. As `Endpoint.open`: calls nobody back before it returned,
# raises ValueError for a request that cannot be sent.
Open: TypeAlias = Callable[[Request, Receiver], Attempt | None]


class Site:
    """`route` and `rule` are the names that metrics and logs know the place by."""

    __slots__ = ("means", "opens", "route", "rule", "wheel")

    def __init__(self, route: str, rule: str, means: Means, wheel: Wheel, opens: Callable[[str], Open]) -> None:
        self.route = route
        self.rule = rule
        self.means = means
        self.wheel = wheel
        self.opens = opens

    def __repr__(self) -> str:
        return f"<Site {self.route}/{self.rule}>"
