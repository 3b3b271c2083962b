"""Which server sections hold on each port of each workload that has a proxy of ours. Called by `compiler`.

The chain of scopes above a port is the mesh, the namespace, every Service that selects the workload, and that Service's
port if it leads there. What holds does not depend on the name under which somebody calls. Ports with the same scopes
share one MeshPolicy, so that thousands of proxies cost no more than there are scopes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from sidewinder_operator.compile import mtls
from sidewinder_operator.compile.sections import Applied, Attachments, Row, Scope
from sidewinder_operator.compile.seniority import seniority
from sidewinder_operator.compile.workloads import Selection, leads_to
from sidewinder_operator.mesh.mtls import MeshMtls
from sidewinder_operator.mesh.policies import Held, MeshPolicy
from sidewinder_operator.mesh.workloads import MeshWorkload, WorkloadPort
from sidewinder_operator.problems import Reference
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.core import Service

MESH = Scope("Mesh")


class Place(NamedTuple):
    """A port as policies see it: only scopes that have a section. `services`: for each one that selects the workload
    its own scope and those of its ports that lead there."""

    above: tuple[Scope, ...]  # the mesh, the namespace
    services: tuple[tuple[Scope, ...], ...]

    @property
    def name(self) -> str:
        """Readable, and never two places' at once."""
        return "+".join(_written(scope) for scope in (*self.above, *(one for each in self.services for one in each)))

    @property
    def levels(self) -> tuple[tuple[Scope, ...], ...]:
        """Scopes that are equally specific, least specific first."""
        below = [scope for each in self.services for scope in each]
        whole = tuple(scope for scope in below if not scope.part)
        return *((scope,) for scope in self.above), whole, tuple(scope for scope in below if scope.part)


def _written(scope: Scope) -> str:
    where = "/".join(word for word in (scope.namespace, scope.name) if word) or "Mesh"  # no namespace is called so
    return f"{where}:{scope.part}" if scope.part else where


def policies(
    found: Mapping[str, MeshWorkload], selection: Selection, attachments: Attachments, rows: Iterable[Row], of: Cluster
) -> tuple[dict[str, MeshWorkload], dict[str, MeshPolicy]]:
    """The workloads with the names of what holds on their ports, and that by its name."""
    held = frozenset(scope for row in rows if not row.client for scope in attachments.table.get(row.name, ()))
    if not held:
        return dict(found), {}
    ranks = {policy.reference: rank for rank, policy in enumerate(sorted(of.policies.values(), key=seniority))}
    places = _Places(held)
    workloads = {id_: _ruled(one, selection.services(id_), places) for id_, one in found.items()}
    made = (_made(place, attachments, ranks) for place in places.used)
    return workloads, {policy.name: policy for policy in sorted(made, key=lambda each: each.name)}


class _Places:
    """Where ports are, worked out once for all that are alike: there are thousands of pods and few Services."""

    def __init__(self, held: frozenset[Scope]) -> None:
        self._held = held
        self._names: dict[tuple[object, ...], str] = {}
        self.used: set[Place] = set()

    def name(self, namespace: str, services: tuple[Service, ...], port: WorkloadPort | None) -> str:
        """The name of what holds there, "" for nothing."""
        own = (port.port, port.name) if port is not None else ()
        key = (namespace, tuple(service.name for service in services), own)
        name = self._names.get(key)
        if name is None:
            place = self._place(namespace, services, port)
            name = self._names[key] = place.name
            if name:
                self.used.add(place)
        return name

    def _place(self, namespace: str, services: tuple[Service, ...], port: WorkloadPort | None) -> Place:
        held = self._held
        above = tuple(scope for scope in (MESH, Scope("Namespace", namespace)) if scope in held)
        below = []
        for service in services:
            whole = Scope("Service", *service.key)
            own = leads_to(service, port) if port is not None else ()
            parts = (whole._replace(part=each.name) for each in own if each.name)
            if scopes := tuple(scope for scope in (whole, *parts) if scope in held):
                below.append(scopes)
        return Place(above, tuple(below))


def _ruled(workload: MeshWorkload, services: tuple[Service, ...], places: _Places) -> MeshWorkload:
    """The workload with what holds on its ports; a pod also on those that nobody declared."""
    if not workload.outbound:
        return workload
    rest = places.name(workload.namespace, services, None)
    named = [(port, places.name(workload.namespace, services, port)) for port in workload.ports]
    if not rest and not any(name for _, name in named):
        return workload
    ports = tuple(msgspec.structs.replace(port, policy=name) if name else port for port, name in named)
    return msgspec.structs.replace(workload, ports=ports, policy=rest)


def _made(place: Place, attachments: Attachments, ranks: Mapping[Reference, int]) -> MeshPolicy:
    """What holds at a place."""
    merging = _Merging(place, attachments)
    mesh_mtls, own_mtls = merging.at_mesh("mtls"), merging.replaced("mtls")
    cors = sorted(merging.replaced("cors"), key=lambda each: ranks.get(each.origin.reference, len(ranks)))[:1]
    authentication = merging.replaced("authentication")
    authorization = merging.added("authorization")
    redact = merging.added("redact")
    adaptive = merging.replaced("adaptiveConcurrency")
    sizes = merging.added("sizeLimits")
    closed = [
        f"{_owner(each)}/{name}"
        for name, found in (
            ("mtls", (*mesh_mtls, *own_mtls)),
            ("authentication", authentication),
            ("authorization", authorization),
        )
        for each in found
        if each.closed
    ]
    sources = (*mesh_mtls, *own_mtls, *cors, *authentication, *authorization, *redact, *adaptive, *sizes)
    return MeshPolicy(
        name=place.name,
        closed=tuple(sorted(set(closed))),
        mtls=_mtls(mesh_mtls, own_mtls),
        cors=next((Held(_owner(each), each.value) for each in cors), None),
        authentication=_open(authentication),
        authorization=_open(authorization),
        redact=tuple(each.value for each in redact),
        adaptive_concurrency=_open(merging.placed("adaptiveConcurrency", adaptive)),
        size_limits=_open(sizes),
        origins=tuple(sorted({each.origin for each in sources})),
    )


class _Merging:
    """How a section's levels come together at one place, where several Services may stand side by side."""

    def __init__(self, place: Place, attachments: Attachments) -> None:
        self._place = place
        self._attachments = attachments

    def at_mesh(self, name: str) -> tuple[Applied, ...]:
        """What is attached to the whole mesh, if that holds here."""
        return tuple(self._on(name, (scope for scope in self._place.above if scope == MESH)))

    def replaced(self, name: str) -> tuple[Applied, ...]:
        """Of each Service the most specific; where none says anything, what stands above them."""
        found: list[Applied] = []
        for scopes in self._place.services:
            ports = tuple(self._on(name, (scope for scope in scopes if scope.part)))
            found.extend(ports or self._on(name, (scope for scope in scopes if not scope.part)))
        above = (tuple(self._on(name, (scope,))) for scope in reversed(self._place.above))
        return _once(found) or next((each for each in above if each), ())

    def added(self, name: str) -> tuple[Applied, ...]:
        """All there are, least specific first. Of equals who denies by default stands last: there it wins."""
        found: list[Applied] = []
        for level in self._place.levels:
            found.extend(sorted(self._on(name, level), key=_denies))
        return _once(reversed(found))[::-1]  # who stands at two levels counts where it is more specific

    def placed(self, name: str, found: Iterable[Applied]) -> Iterator[Applied]:
        """Each with the target, of its policy's, by which it holds here: the most specific one."""
        scopes = [*(scope for scopes in self._place.services for scope in reversed(scopes)), *self._place.above[::-1]]
        for each in found:
            at = next(scope for scope in scopes if any(held is each for held in self._on(name, (scope,))))
            yield each._replace(value=msgspec.structs.replace(each.value, target=str(at)))

    def _on(self, name: str, scopes: Iterable[Scope]) -> Iterator[Applied]:
        held = self._attachments.table.get(name, {})
        for scope in scopes:
            yield from held.get(scope, ())


def _denies(applied: Applied) -> bool:
    return getattr(applied.value, "default_action", None) == "Deny"


def _once(found: Iterable[Applied]) -> tuple[Applied, ...]:
    """A policy that is attached to several of the scopes counts once."""
    first: dict[Reference, Applied] = {}
    for each in found:
        first.setdefault(each.origin.reference, each)
    return tuple(first.values())


def _owner(applied: Applied) -> str:
    reference = applied.origin.reference
    return f"{reference.namespace}/{reference.name}"


def _open(found: Iterable[Applied]) -> tuple[Held[Any], ...]:
    return tuple(Held(_owner(each), each.value) for each in found if not each.closed)


def _mtls(mesh: tuple[Applied, ...], own: tuple[Applied, ...]) -> MeshMtls | None:
    """The strictest of several Services at one level, never weaker than the mesh's."""
    whole = next((mtls.named(each) for each in mesh if not each.closed), None)
    specific = None
    for section in (mtls.named(each) for each in own if not each.closed):
        specific = section if specific is None else mtls.strictest(specific, section)
    return mtls.effective((whole, specific))
