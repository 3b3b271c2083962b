"""One workload's part of the mesh: what its sidecar must do, as named resources in layers that workloads share.

Called by `reconcile` (through `discovery.store`), with a workload's id and what it wanted; reads the mesh only. A
Projector belongs to one Mesh and takes over from the one before it what has not changed: the same layer object means
the same content, so that whoever has it does nothing. What it costs grows with distinct resources, not with sidecars.

A pod's picture is its own layer, its namespace's (the Services there, those that routes from there are written for, and
what the routes reach) and one for each Service that it wanted. Everybody else sees everything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import msgspec

from sidewinder_operator.compile import health_check, policy_specs, specs
from sidewinder_operator.compile.directory import Directory
from sidewinder_operator.mesh import Mesh
from sidewinder_operator.mesh.health_check import MeshCheck
from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.mesh.policies import MeshPolicy
from sidewinder_operator.mesh.services import MeshPort, MeshService
from sidewinder_operator.mesh.workloads import MeshGateway, MeshWorkload
from sidewinder_operator.problems import Reference
from sidewinder_sidecar.snapshot import Resource, Snapshot, decode, encode, version


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """A resource ready to send. `of` goes out with it; `sources` are the objects whose status waits for it."""

    name: str
    version: str
    raw: bytes
    of: tuple[str, int] | None
    sources: tuple[Reference, ...]
    ready: frozenset[str] = frozenset()  # of endpoints: the uids that new requests may be sent to


Resources: TypeAlias = dict[str, Encoded]  # resource name → what to send


class Layer(msgspec.Struct, frozen=True, eq=False, weakref=True):
    """Resources that go together to everybody who gets one of them. Compared by identity, never changed."""

    resources: Mapping[str, Encoded]


class View(msgspec.Struct, frozen=True):
    """From where the mesh is seen: the callers' namespace ("" is outside), and the domain of a gateway."""

    namespace: str
    domain: str = ""


CHECKS = "checks/self"
ELSEWHERE = View("")  # where no Service is at home and nobody has written routes: how strangers see one
_Key: TypeAlias = tuple[object, ...]


class _Part(msgspec.Struct, frozen=True):
    """A resource and what it was made of: equal inputs need not be made again."""

    inputs: tuple[object, ...]
    encoded: Encoded


class Projector:
    """All pictures of one mesh. Not thread-safe: its tables fill as it is asked."""

    def __init__(self, mesh: Mesh, previous: Projector | None = None) -> None:
        self._mesh = mesh
        self._ports = {port.name: (service, port) for service in mesh.services.values() for port in service.ports}
        self._homes = _homes(mesh)
        self._policies: dict[str, MeshPolicy] = _kept(mesh.policies, previous._policies if previous is not None else {})
        self._directory: Directory | None = None
        # what is made, and what was
        self._parts: dict[_Key, _Part] = {}
        self._layers: dict[_Key, Layer] = {}
        self._parts_before = previous._parts if previous is not None else {}
        self._layers_before = previous._layers if previous is not None else {}

    def settle(self) -> None:
        """Everybody has been asked for: what the mesh before had made and nobody has taken over is forgotten."""
        self._parts_before, self._layers_before = {}, {}

    def identities(self) -> tuple[str, ...]:
        """Every workload that has a proxy of ours."""
        sidecars = (id_ for id_, workload in self._mesh.workloads.items() if workload.outbound)
        return (*self._mesh.gateways, *sidecars)

    def layers(self, identity: str, wants: Iterable[str] = ()) -> tuple[Layer, ...]:
        """What the proxy of this workload must do, its own layer first. `wants`: ports' names, as `find` gives them.

        Raises KeyError for a workload that the mesh does not hold; what is not there any more of `wants` is left out.
        """
        gateway = self._mesh.gateways.get(identity)
        if gateway is not None:
            return self._own(identity), self._whole(View("", gateway.domain))
        workload = self._mesh.workloads[identity]
        view = View(workload.namespace)
        if not workload.lazy:
            return self._own(identity), self._whole(view)
        home = self._homes.get(view.namespace, {})
        wanted = (self._wanted(name) for name in dict.fromkeys(wants) if name not in home and name in self._ports)
        return (self._own(identity), self._home(view), *wanted)

    def find(self, identity: str, key: str) -> tuple[str, ...]:
        """The ports that a workload means by `ip:port`, by a host name or by a port's own name; () is unknown here."""
        if self._directory is None:
            self._directory = Directory(self._mesh)
        workload = self._mesh.workloads.get(identity)
        return self._directory.find(key, workload.namespace if workload is not None else "")

    def resources(self, identity: str, wants: Iterable[str] = ()) -> Resources:
        """The layers in one."""
        return {name: each for layer in self.layers(identity, wants) for name, each in layer.resources.items()}

    def snapshot(self, identity: str, wants: Iterable[str] = ()) -> Snapshot:
        """What arrives of it."""
        return {name: decode(name, each.raw) for name, each in self.resources(identity, wants).items()}

    # ── layers ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _own(self, identity: str) -> Layer:
        """What is this proxy's alone: its name, its listeners, the application behind it, and what it checks."""
        key = ("own", identity)
        if (layer := self._layers.get(key)) is not None:
            return layer
        noun = self._mesh.gateways.get(identity) or self._mesh.workloads[identity]
        policies = tuple(self._policies[name] for name in _policies_of(noun))
        checks = self._mesh.checks.get(identity, ())
        inputs = (noun, policies, checks, self._mesh.cluster_domain, self._mesh.trace_percent, self._mesh.outbound)
        part = self._parts_before.get(key)
        if part is not None and part.inputs == inputs:
            self._parts[key] = part
            layer = self._layers[key] = self._layers_before[key]
            return layer
        made, origins = specs.own(self._mesh, noun)
        resources = {name: _encode(name, spec, origins) for name, spec in made.items()}
        for policy in policies:
            resources.update(self._policy(policy))
        if checks:
            resources[CHECKS] = self._checks(checks)
        self._parts[key] = _Part(inputs, resources["proxy/self"])
        return self._layer(key, resources)

    def _policy(self, policy: MeshPolicy) -> Resources:
        """What holds on a port of this proxy, and what that names: nobody else gets either."""
        name = f"policy/{policy.name}"
        found = {name: self._made(name, (), (policy,), lambda: policy_specs.policy(policy), policy.origins)}
        for each, spec in policy_specs.named(policy):
            found[each] = self._made(each, (), (spec,), _itself(spec), ())
        return found

    def _checks(self, checks: tuple[MeshCheck, ...]) -> Encoded:
        """It comes from many objects, so it stands and falls with none of them."""
        raw = encode(health_check.spec(checks))
        sources = {origin.reference for check in checks for origin in check.origins}
        return Encoded(CHECKS, version(raw), raw, None, tuple(sorted(sources)))

    def _whole(self, view: View) -> Layer:
        """Everything, as seen from there."""
        key = ("whole", view)
        if (layer := self._layers.get(key)) is not None:
            return layer
        return self._layer(key, self._reached(view, self._ports))

    def _home(self, view: View) -> Layer:
        """What a namespace gets at once."""
        key = ("home", view)
        if (layer := self._layers.get(key)) is not None:
            return layer
        return self._layer(key, self._reached(view, self._homes.get(view.namespace, ())))

    def _wanted(self, port: str) -> Layer:
        """One Service's port and what its routes reach, the same for all to whom it is not home."""
        key = ("wanted", port)
        if (layer := self._layers.get(key)) is not None:
            return layer
        return self._layer(key, self._reached(ELSEWHERE, (port,)))

    def _layer(self, key: _Key, resources: Resources) -> Layer:
        before = self._layers_before.get(key)
        layer = before if before is not None and before.resources == resources else Layer(resources)
        self._layers[key] = layer
        return layer

    # ── resources ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _reached(self, view: View, ports: Iterable[str]) -> Resources:
        """Services, routes, backends and endpoints as callers see them from there."""
        seen: Resources = {}
        for name in ports:
            service, port = self._ports[name]
            if view.domain and service.external:
                continue  # nobody from outside goes through the mesh to the outside
            seen[f"service/{name}"] = self._service(view, service, port)
            for route in port.routes(view.namespace):
                self._add_route(seen, route)
            self._add_backend(seen, name)
        return seen

    def _service(self, view: View, service: MeshService, port: MeshPort) -> Encoded:
        routes = port.routes(view.namespace)
        if view.domain:
            domains = specs.gateway_domains(service, service.ports.index(port), view.domain)
        else:
            domains = specs.domains(service, view.namespace, self._mesh.cluster_domain)
        origins = (service.origin, *(self._mesh.routes[route].origin for route in routes))
        spoken = port.spoken(view.namespace) if not view.domain else ""  # a gateway's listener says it for all
        addresses = service.addresses if not view.domain else ()
        return self._made(
            f"service/{port.name}",
            (domains, routes),
            (port.port, addresses, service.headless, spoken, origins),
            lambda: specs.service(service, port, domains, routes, spoken, gateway=bool(view.domain)),
            origins,
        )

    def _add_route(self, seen: Resources, name: str) -> None:
        resource = f"route/{name}"
        if resource in seen:
            return
        route = self._mesh.routes[name]
        seen[resource] = self._made(resource, (), (route,), lambda: specs.route(route), route.origins())
        for backend in route.backends():
            self._add_backend(seen, backend)

    def _add_backend(self, seen: Resources, name: str) -> None:
        resource = f"backend/{name}"
        if resource in seen:
            return
        backend = self._mesh.backends[name]
        seen[resource] = self._made(resource, (), (backend,), lambda: specs.backend(backend), backend.origins)
        self._add_endpoints(seen, backend.endpoints)

    def _add_endpoints(self, seen: Resources, name: str) -> None:
        resource = f"endpoints/{name}"
        if resource in seen:
            return
        service, port = self._ports[name]
        inputs = (port.endpoints, service.origin)
        seen[resource] = self._made(resource, (), inputs, lambda: specs.endpoints(port), (service.origin,))

    def _made(
        self,
        name: str,
        variant: tuple[object, ...],
        inputs: tuple[object, ...],
        build: Callable[[], Resource],
        origins: tuple[Origin, ...],
    ) -> Encoded:
        """The resource, made once; from the mesh before where it was made of the same there."""
        key = (name, *variant)
        part = self._parts.get(key)
        if part is None:
            part = self._parts_before.get(key)
            if part is None or part.inputs != inputs:
                encoded = _encode(name, build(), origins)
                part = _Part(inputs, part.encoded if part is not None and part.encoded == encoded else encoded)
            self._parts[key] = part
        return part.encoded


def _itself(spec: Resource) -> Callable[[], Resource]:
    return lambda: spec


def _kept(policies: dict[str, MeshPolicy], before: dict[str, MeshPolicy]) -> dict[str, MeshPolicy]:
    """The policies, as the same objects where they are equal: thousands of workloads are compared with them."""
    return {
        name: before[name] if name in before and before[name] == policy else policy for name, policy in policies.items()
    }


def _policies_of(noun: MeshWorkload | MeshGateway) -> tuple[str, ...]:
    """The names of all that holds on its ports."""
    if isinstance(noun, MeshGateway):
        return ()
    rest = (noun.policy,) if noun.inbound else ()  # of local mode's there are no other ports
    return tuple(dict.fromkeys(name for name in (*rest, *(port.policy for port in noun.ports)) if name))


def _homes(mesh: Mesh) -> dict[str, dict[str, None]]:
    """Namespace → the ports of its own Services, and those elsewhere for which it has written routes."""
    homes: dict[str, dict[str, None]] = defaultdict(dict)
    for service in mesh.services.values():
        for port in service.ports:
            for home in (service.namespace, *port.consumers):
                homes[home][port.name] = None
    return homes


def _encode(name: str, spec: Resource, origins: tuple[Origin, ...]) -> Encoded:
    raw = encode(spec)
    sources = tuple(sorted({origin.reference for origin in origins}))
    return Encoded(name, version(raw), raw, origins[0].of if origins else None, sources, specs.ready(spec))


def project(mesh: Mesh, identity: str, wants: Iterable[str] = ()) -> Snapshot:
    """One workload's snapshot. For many workloads of one mesh ask one Projector."""
    return Projector(mesh).snapshot(identity, wants)


def awaiting(resources: Mapping[str, Encoded], source: Reference) -> tuple[str, ...]:
    """The resources that a proxy must have acknowledged before `source` is in force there."""
    return tuple(sorted(name for name, encoded in resources.items() if source in encoded.sources))
