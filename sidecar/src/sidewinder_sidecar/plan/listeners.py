"""A listener as the exchange wants it: its spec, what is always done there, which service a request is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.errors import refusal
from sidewinder_sidecar.filters import forwarded, request_id
from sidewinder_sidecar.messages import NAMELESS, Reply
from sidewinder_sidecar.plan.services import MOST_REMEMBERED, Service, Table, split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sidewinder_sidecar.messages import Call, Peer, Request
    from sidewinder_sidecar.plan.guards import Guard
    from sidewinder_sidecar.router.route import Route
    from sidewinder_sidecar.snapshot.listeners import ListenerSpec

Destination = tuple[str, int]
_NOBODY: Final[dict[Destination, Service]] = {}


class Listener:
    """`known` and `reached` remember what was found, by authority and by destination: the common case is one lookup.

    `guard` is what must be met by who calls what no service stands for.
    """

    __slots__ = ("_default", "_headless", "_table", "filters", "guard", "inbound", "known", "reached", "spec")

    def __init__(
        self,
        spec: ListenerSpec,
        table: Table,
        default: Service | None,
        headless: Mapping[Destination, Service] = _NOBODY,
        guard: Guard | None = None,
    ) -> None:
        self.spec = spec
        self.guard = guard
        self.inbound = spec.direction == "Inbound"
        self.filters: tuple[Callable[[Call], None], ...] = (request_id.apply, forwarded.build(spec))
        self.known: dict[bytes, Service] = {}
        self.reached: dict[Destination, Service] = {}
        self._table = table
        self._default = default
        self._headless = headless  # by their endpoints

    def find(self, authority: bytes) -> Service | None:
        """The service of an authority, else the default one; None if there is neither."""
        service = self._table.find(authority) or self._default
        if service is not None and len(self.known) < MOST_REMEMBERED:
            self.known[authority] = service
        return service

    def reach(self, to: Destination, authority: bytes = b"") -> Service | None:
        """The service of a redirected connection; None if it went to none.

        Inbound, its port decides; outbound, its address, and only where that is nobody's, the authority: a Service
        that has no addresses, because it only names an external host, is called like that.
        """
        table = self._table
        if self.inbound:
            service = table.ports.get(to[1]) if to != NAMELESS else None
        else:
            service = table.reached.get(to) or self._headless.get(to)
        if service is None:
            return self._named(authority, to[1]) if authority and not self.inbound else None
        if len(self.reached) < MOST_REMEMBERED:
            self.reached[to] = service
        return service

    def _named(self, authority: bytes, port: int) -> Service | None:
        service = self._table.find(authority)
        if service is None or service.spec.addresses or service.spec.headless or service.spec.port != port:
            return None
        return service

    def tunnel(self, service: Service) -> Route | None:
        """The way of a CONNECT: around all rules, so only where the listener is a forward proxy."""
        return service.direct if self.spec.forward_proxy else None

    def outside(self, request: Request, peer: Peer, listeners: Mapping[str, Listener]) -> Destination | Reply:
        """The host and port of a request that no service owns, or why it is not sent."""
        if peer.destination is not None:
            if request.upgrade == b"connect":  # a connection that begins with it is relayed as it is
                return refusal("no_route", "CONNECT comes first on a connection, or it cannot be passed on")
            return self.onward(peer, listeners)
        authority = request.authority
        text = authority.decode("latin-1")
        if not self.spec.pass_through:
            return refusal("no_route", f"no service is called {text!r}")
        host, port = (part.decode("latin-1") for part in split(authority))
        host, port = host.strip("[]"), port or "80"
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            return refusal("bad_request", f"{text!r} cannot be called: it is no host and port")
        if any(one.is_own(host, int(port)) for one in listeners.values()):
            return refusal("loop", f"{text} is this proxy itself")
        return host, int(port)

    def onward(self, peer: Peer, listeners: Mapping[str, Listener]) -> Destination | Reply:
        """A redirected connection of no service goes on to where it wanted to go, never to where its authority points;
        or why it does not."""
        to = peer.destination
        if to is None or to == NAMELESS:
            return refusal("loop", f"the port {self.spec.port} takes redirected connections only")
        itself = self.inbound or to[0] == peer.address  # the pod calls its own address
        text = authority_of(to)
        if itself and any(one.spec.transparent and one.spec.port == to[1] for one in listeners.values()):
            return refusal("loop", f"{text} is this proxy itself")
        if not (self.spec.pass_through or (itself and not self.inbound)):
            return refusal("no_route", f"{text} is the address of no service, and nothing passes through")
        return to

    def is_own(self, host: str, port: int) -> bool:
        """Would dialling this come back to this very listener?"""
        if port != self.spec.port:
            return False
        return host == self.spec.address or host in _LOOPBACK or host.startswith("127.")

    def __repr__(self) -> str:
        return f"<Listener {self.spec.name} {self.spec.direction} {self.spec.address}:{self.spec.port}>"


_LOOPBACK: Final = frozenset({"localhost", "::1", "0.0.0.0", "::"})


def authority_of(to: Destination) -> str:
    """`ip:port`, `[ip]:port`: how a destination is told, and what it is asked for by."""
    return f"[{to[0]}]:{to[1]}" if ":" in to[0] else f"{to[0]}:{to[1]}"
