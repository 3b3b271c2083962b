"""Services with their routers, and which service an authority means. Made by `plan/build`, asked by the exchange."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.router import Route, Router, Share
from sidewinder_sidecar.upstream.backend import canonical

if TYPE_CHECKING:
    from sidewinder_sidecar.messages import Call
    from sidewinder_sidecar.plan.guards import Guard
    from sidewinder_sidecar.plan.routes import CompiledRoute
    from sidewinder_sidecar.snapshot.services import ServiceSpec
    from sidewinder_sidecar.upstream.backend import Backend

MOST_REMEMBERED: Final = 1024  # other spellings of authorities, each below a request line: 8 MB at the very worst


class Service:
    """`match(call)` gives the route, `direct` is the way around all routes (CONNECT, which has no path to match).

    `exact` is the backend of a headless Service: a request that falls to it goes to the very endpoint that was dialled.
    `guard` is what its callers must meet first, None for nothing.
    """

    __slots__ = ("direct", "exact", "guard", "match", "name", "routes", "spec")

    def __init__(
        self,
        spec: ServiceSpec,
        routes: tuple[CompiledRoute, ...],
        backend: Backend | None,
        guard: Guard | None = None,
    ) -> None:
        self.spec = spec
        self.guard = guard
        self.name = spec.name
        self.routes = routes
        self.direct = direct = Route(spec.name, shares=() if backend is None else (Share(backend),))
        self.exact = backend if spec.headless else None
        self.match: Callable[[Call], Route | None] = lambda call: direct  # a method would make a cycle: freed late

    def holds(
        self, spec: ServiceSpec, routes: tuple[CompiledRoute, ...], backend: Backend | None, guard: Guard | None
    ) -> bool:
        """Would making it give the same again?"""
        leads_to = self.direct.shares[0].backend if self.direct.shares else None
        return self.spec == spec and self.routes == routes and leads_to is backend and self.guard is guard

    def compile(self) -> Iterator[None]:
        """Make the index of the routes. Yields between steps."""
        if not self.routes:
            return
        router = Router()
        for route in self.routes:
            router.add(route.spec.hostnames, route.entries)
            yield
        yield from router.seal()
        self.match = router.match

    def __repr__(self) -> str:
        return f"<Service {self.name} {len(self.routes)} routes>"


class Table:
    """From authority to service. The first service in the order given that claims a name has it.

    `reached` is from the destination of a redirected connection to service; `ports` from its port alone.
    """

    __slots__ = ("_any_port", "_names", "_suffixes", "ports", "reached", "services")

    def __init__(self, services: tuple[Service, ...]) -> None:
        self.services = services
        self._names: dict[bytes, Service] = {}  # "host:port", and "host" where the port is HTTP's own
        self._any_port: dict[bytes, Service] = {}
        self._suffixes: dict[bytes, Service] = {}  # "*.example.com" is b".example.com"
        self.reached: dict[tuple[str, int], Service] = {}
        self.ports: dict[int, Service] = {}

    def compile(self) -> Iterator[None]:
        """Enter all names. Yields between steps."""
        for service in self.services:
            for host in _hosts(service.spec):
                self._enter(host, service)
            port = service.spec.port
            self.ports.setdefault(port, service)
            for address in service.spec.addresses:
                self.reached.setdefault((canonical(address), port), service)
            yield

    def _enter(self, host: bytes, service: Service) -> None:
        if host.startswith(b"*."):
            self._suffixes.setdefault(host[1:] if service.spec.any_port else _with_port(host[1:], service), service)
        elif service.spec.any_port:
            self._any_port.setdefault(host, service)
        else:
            self._names.setdefault(_with_port(host, service), service)
            if service.spec.port == 80:
                self._names.setdefault(host, service)

    def find(self, authority: bytes) -> Service | None:
        """The service that owns this `host[:port]`."""
        if (service := self._names.get(authority)) is not None:
            return service
        host, port = split(authority)
        return (
            self._names.get(host + b":" + port if port else host)
            or self._any_port.get(host)
            or (self._find_suffix(host, port or b"80") if self._suffixes else None)
        )

    def _find_suffix(self, host: bytes, port: bytes) -> Service | None:
        dot = host.find(b".")
        while dot >= 0:
            suffix = host[dot:]
            if (service := self._suffixes.get(suffix) or self._suffixes.get(suffix + b":" + port)) is not None:
                return service
            dot = host.find(b".", dot + 1)
        return None


def _hosts(spec: ServiceSpec) -> Iterable[bytes]:
    for domain in spec.domains:
        yield domain.lower().encode()
    for address in spec.addresses:
        yield (f"[{address}]" if ":" in address else address).encode()


def _with_port(host: bytes, service: Service) -> bytes:
    return host + b":%d" % service.spec.port


def split(authority: bytes) -> tuple[bytes, bytes]:
    """Host (brackets kept, without a root dot) and port (may be empty)."""
    if authority.startswith(b"["):
        host, bracket, rest = authority.partition(b"]")
        return host + bracket, rest.removeprefix(b":")
    host, _, port = authority.partition(b":")
    return host.rstrip(b"."), port
