"""One workload's part of the mesh: what its sidecar must do, as named resources.

Called by whoever feeds discovery (`local`, `reconcile`), with a workload's id; reads the mesh only. A Projector belongs
to one Mesh: it makes each spec once and encodes it once, however many sidecars get it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from sidewinder_operator.compile import specs
from sidewinder_operator.mesh import Mesh
from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.mesh.services import MeshPort, MeshService
from sidewinder_operator.mesh.workloads import MeshGateway, MeshWorkload
from sidewinder_operator.problems import Reference
from sidewinder_sidecar.snapshot import Resource, Snapshot, encode, version
from sidewinder_sidecar.snapshot.services import ServiceSpec


class Encoded(msgspec.Struct, frozen=True):
    """A resource ready to send. `of` goes out with it; `sources` are the objects whose status waits for it."""

    name: str
    version: str
    raw: bytes
    of: tuple[str, int] | None
    sources: tuple[Reference, ...]


Resources: TypeAlias = dict[str, Encoded]  # resource name → what to send


class _Made(msgspec.Struct, frozen=True):
    """A spec and the objects it comes from, the principal first."""

    spec: Resource
    origins: tuple[Origin, ...]


_Set: TypeAlias = dict[str, _Made]
_View: TypeAlias = tuple[str, str]  # the callers' namespace ("" is outside), and the domain of a gateway


class Projector:
    """All snapshots of one mesh. Not thread-safe: its caches fill as it is asked."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._services: dict[tuple[str, tuple[str, ...], tuple[str, ...]], _Made] = {}
        self._routes: _Set = {}
        self._backends: _Set = {}
        self._endpoints: _Set = {}
        self._seen: dict[_View, _Set] = {}
        self._sent: dict[_View, Resources] = {}
        self._encoded: dict[int, Encoded] = {}  # by the id of what the caches above keep alive

    def identities(self) -> tuple[str, ...]:
        """Every workload that has a proxy of ours."""
        sidecars = (id_ for id_, workload in self._mesh.workloads.items() if workload.outbound)
        return (*self._mesh.gateways, *sidecars)

    def snapshot(self, identity: str) -> Snapshot:
        """What the proxy of this workload must do. Raises KeyError for a workload that the mesh does not hold."""
        own, view = self._own(identity)
        return {name: made.spec for name, made in {**own, **self._visible(view)}.items()}

    def resources(self, identity: str) -> Resources:
        """The same, encoded, with versions."""
        own, view = self._own(identity)
        return {**{name: _encode(name, made) for name, made in own.items()}, **self._encoded_view(view)}

    def _own(self, identity: str) -> tuple[_Set, _View]:
        """What is this proxy's alone, and from where it sees the rest."""
        gateway = self._mesh.gateways.get(identity)
        if gateway is not None:
            return _gateway(self._mesh, gateway), ("", gateway.domain)
        workload = self._mesh.workloads[identity]
        return _sidecar(self._mesh, workload), (workload.namespace, "")

    def _encoded_view(self, view: _View) -> Resources:
        sent = self._sent.get(view)
        if sent is None:
            sent = self._sent[view] = {name: self._once(name, made) for name, made in self._visible(view).items()}
        return sent

    def _once(self, name: str, made: _Made) -> Encoded:
        encoded = self._encoded.get(id(made))
        if encoded is None:
            encoded = self._encoded[id(made)] = _encode(name, made)
        return encoded

    def _visible(self, view: _View) -> _Set:
        """Services, routes, backends and endpoints as callers see them from there."""
        found = self._seen.get(view)
        if found is None:
            found = self._seen[view] = self._see(*view)
        return found

    def _see(self, namespace: str, domain: str) -> _Set:
        seen: _Set = {}
        for service in self._mesh.services.values():
            for index, port in enumerate(service.ports):
                domains = (
                    specs.gateway_domains(service, index, domain)
                    if domain
                    else specs.domains(service, namespace, self._mesh.cluster_domain)
                )
                seen[f"service/{port.name}"] = self._service(service, port, namespace, domains, bool(domain))
                for route in port.routes(namespace):
                    self._add_route(seen, route)
                self._add_backend(seen, port.name)
        return seen

    def _service(
        self, service: MeshService, port: MeshPort, namespace: str, domains: tuple[str, ...], any_port: bool
    ) -> _Made:
        routes = port.routes(namespace)
        key = (port.name, domains, routes)
        made = self._services.get(key)
        if made is None:
            spec = ServiceSpec(
                name=port.name,
                namespace=service.namespace,
                port=port.port,
                domains=domains,
                any_port=any_port,
                routes=routes,
                backend=port.name,
            )
            origins = (service.origin, *(self._mesh.routes[route].origin for route in routes))
            made = self._services[key] = _Made(spec, origins)
        return made

    def _add_route(self, seen: _Set, name: str) -> None:
        resource = f"route/{name}"
        if resource in seen:
            return
        route = self._mesh.routes[name]
        made = self._routes.get(name)
        if made is None:
            made = self._routes[name] = _Made(specs.route(route), (route.origin,))
        seen[resource] = made
        for backend in sorted({d.backend for rule in route.rules for d in rule.destinations if d.backend}):
            self._add_backend(seen, backend)

    def _add_backend(self, seen: _Set, name: str) -> None:
        resource = f"backend/{name}"
        if resource in seen:
            return
        backend = self._mesh.backends[name]
        made = self._backends.get(name)
        if made is None:
            made = self._backends[name] = _Made(specs.backend(backend), backend.origins)
        seen[resource] = made
        self._add_endpoints(seen, backend.endpoints, backend.service)

    def _add_endpoints(self, seen: _Set, name: str, service: str) -> None:
        resource = f"endpoints/{name}"
        if resource in seen:
            return
        made = self._endpoints.get(name)
        if made is None:
            owner = self._mesh.services[service]
            port = next(port for port in owner.ports if port.name == name)
            made = self._endpoints[name] = _Made(specs.endpoints(port), (owner.origin,))
        seen[resource] = made


def _encode(name: str, made: _Made) -> Encoded:
    raw = encode(made.spec)
    sources = tuple(sorted({origin.reference for origin in made.origins}))
    return Encoded(name, version(raw), raw, made.origins[0].of if made.origins else None, sources)


def project(mesh: Mesh, identity: str) -> Snapshot:
    """One workload's snapshot. For many workloads of one mesh ask one Projector."""
    return Projector(mesh).snapshot(identity)


def awaiting(resources: Resources, source: Reference) -> tuple[str, ...]:
    """The resources that a proxy must have acknowledged before `source` is in force there."""
    return tuple(sorted(name for name, encoded in resources.items() if source in encoded.sources))


def _sidecar(mesh: Mesh, workload: MeshWorkload) -> _Set:
    origin = (Origin(Reference(workload.kind, workload.namespace, workload.name), workload.uid, workload.generation),)
    return _named(
        {"proxy/self": specs.proxy(mesh, workload)}, specs.inbound(workload), specs.outbound(workload), origin
    )


def _gateway(mesh: Mesh, gateway: MeshGateway) -> _Set:
    return _named({"proxy/self": specs.gateway_proxy(mesh, gateway)}, specs.gateway(gateway), {}, ())


def _named(
    first: dict[str, Resource], second: dict[str, Resource], third: dict[str, Resource], origins: Iterable[Origin]
) -> _Set:
    sources = tuple(origins)
    return {name: _Made(spec, sources) for name, spec in {**first, **second, **third}.items()}
