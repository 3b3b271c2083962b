"""A listener as the exchange wants it: its spec, what is always done there, which service a request is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidewinder_sidecar.errors import refusal
from sidewinder_sidecar.filters import forwarded, request_id
from sidewinder_sidecar.messages import Reply
from sidewinder_sidecar.plan.services import MOST_REMEMBERED, Service, Table, split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sidewinder_sidecar.messages import Call
    from sidewinder_sidecar.router.route import Route
    from sidewinder_sidecar.snapshot.listeners import ListenerSpec


class Listener:
    """`known` remembers what `find` found, so that the common case is one lookup."""

    __slots__ = ("_default", "_table", "filters", "known", "spec")

    def __init__(self, spec: ListenerSpec, table: Table, default: Service | None) -> None:
        self.spec = spec
        self.filters: tuple[Callable[[Call], None], ...] = (request_id.apply, forwarded.build(spec))
        self.known: dict[bytes, Service] = {}
        self._table = table
        self._default = default

    def find(self, authority: bytes) -> Service | None:
        """The service of an authority, else the default one; None if there is neither."""
        service = self._table.find(authority) or self._default
        if service is not None and len(self.known) < MOST_REMEMBERED:
            self.known[authority] = service
        return service

    def tunnel(self, service: Service) -> Route | None:
        """The way of a CONNECT: around all rules, so only where the listener is a forward proxy."""
        return service.direct if self.spec.forward_proxy else None

    def outside(self, authority: bytes, listeners: Mapping[str, Listener]) -> tuple[str, int] | Reply:
        """The host and port of an authority that no service owns, or why it is not called."""
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

    def is_own(self, host: str, port: int) -> bool:
        """Would dialling this come back to this very listener?"""
        if port != self.spec.port:
            return False
        return host == self.spec.address or host in _LOOPBACK or host.startswith("127.")

    def __repr__(self) -> str:
        return f"<Listener {self.spec.name} {self.spec.direction} {self.spec.address}:{self.spec.port}>"


_LOOPBACK = frozenset({"localhost", "::1", "0.0.0.0", "::"})
