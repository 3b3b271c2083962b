"""Which rule of a service is this request for? Asked once per request by the exchange, built by `plan/services`.

Hostnames first (exact over longest wildcard over none), then the path (exact over longest prefix over expression),
then method, headers, query parameters, then the order of the routes and of their rules: the Gateway API's precedence
over all routes of a service at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from sidewinder_sidecar.router.index import Entry, Index
from sidewinder_sidecar.router.route import Route, Share

if TYPE_CHECKING:
    from sidewinder_sidecar.messages import Call

__all__ = ["Entry", "Index", "Route", "Router", "Share", "host_of"]


class Router:
    """All routes of one service. `add` in the order of the service's routes, `seal` once, then `match`."""

    __slots__ = ("_any", "_hosts", "_named", "_position", "_suffixes")

    def __init__(self) -> None:
        self._any = Index()
        self._hosts: dict[bytes, Index] = {}
        self._suffixes: dict[bytes, Index] = {}  # "*.example.com" is b".example.com"
        self._named = False
        self._position = 0

    def add(self, hostnames: Sequence[str], entries: Sequence[Entry]) -> None:
        """One route: its entries in the order of its rules and matches."""
        for index in [self._index(hostname.lower().encode()) for hostname in hostnames] or [self._any]:
            for position, entry in enumerate(entries, self._position):
                index.add(entry, position)
        self._position += len(entries)

    def _index(self, hostname: bytes) -> Index:
        self._named = True
        if hostname.startswith(b"*."):
            return self._suffixes.setdefault(hostname[1:], Index())
        return self._hosts.setdefault(hostname, Index())

    def seal(self) -> Iterator[None]:
        """All routes are in. Yields between steps."""
        for index in (self._any, *self._hosts.values(), *self._suffixes.values()):
            yield from index.seal()

    @property
    def match(self) -> Callable[[Call], Route | None]:
        """What gives the route for a call and sets its captures. Without hostnames that is the index itself."""
        return self._match if self._named else self._any.find

    def _match(self, call: Call) -> Route | None:
        return self._match_host(call) or self._any.find(call)

    def _match_host(self, call: Call) -> Route | None:
        host = host_of(call.request.authority)
        if (index := self._hosts.get(host)) is not None and (route := index.find(call)) is not None:
            return route
        dot = host.find(b".") if self._suffixes else -1
        while dot >= 0:
            if (index := self._suffixes.get(host[dot:])) is not None and (route := index.find(call)) is not None:
                return route
            dot = host.find(b".", dot + 1)
        return None


def host_of(authority: bytes) -> bytes:
    """The host of `host[:port]`, without brackets and without a root dot."""
    if authority.startswith(b"["):
        return authority[1:].partition(b"]")[0]
    return authority.partition(b":")[0].rstrip(b".")
