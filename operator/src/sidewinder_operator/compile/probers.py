"""Which proxies check which endpoints, and what their verdicts come to. Called by `compiler`.

1. An endpoint has three probers, however many call it: few enough that checks do not grow with callers, enough that one
   that is cut off is outvoted.
2. They are near it: of its namespace, those of its zone first; only where nobody else is there, of the whole mesh, for
   a NetworkPolicy may keep them out. Only proxies that are ready, and never the endpoint itself.
3. Who it is comes from a ring of hashes: every replica of the operator finds the same ones, and a proxy that comes or
   goes moves only what is its own. Nobody gets more than he can do (`MOST_CHECKS`): the next on the ring has it.
4. An endpoint is unhealthy if most of its probers that have said something say so; nothing is believed of others.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from sidewinder_operator.mesh import Mesh
from sidewinder_operator.mesh.health_check import MeshCheck, MeshHealthCheck, MeshProbed
from sidewinder_operator.mesh.services import MeshBackend, MeshEndpoint, MeshPort, MeshService
from sidewinder_operator.mesh.workloads import MeshWorkload
from sidewinder_sidecar.snapshot.checks import MOST_CHECKS, key

PROBERS = 3
_POINTS_EACH = 8  # of one proxy on the ring: what one digest of 64 bytes has; shares differ by a third
_POINTS = struct.Struct(f">{_POINTS_EACH}Q")

Verdicts = Mapping[str, Mapping[str, bool]]  # workload → endpoint (`snapshot.checks.key`) → whether it is well


class Ring:
    """Some workloads, in the order that an endpoint meets them. Those who have all they can do are left out when they
    are half of it: else ten thousand endpoints would each walk past the same fifty."""

    def __init__(self, members: Iterable[MeshWorkload]) -> None:
        points = sorted(
            (point, workload.id, workload.uid)
            for workload in members
            for point in _POINTS.unpack(hashlib.blake2b(workload.id.encode()).digest())
        )
        self._points = [point for point, _, _ in points]
        self._owners = [(id_, uid) for _, id_, uid in points]
        self._full: set[str] = set()

    def walk(self, place: int, load: Mapping[str, int]) -> Iterator[tuple[str, str]]:
        """Everybody once who can do more, id and uid, from this place on."""
        if 2 * _POINTS_EACH * len(self._full) > len(self._owners):
            self._leave_out()
        start = bisect_left(self._points, place)
        seen: set[str] = set()
        for index in range(start, start + len(self._owners)):
            owner = self._owners[index % len(self._owners)]
            if owner[0] not in seen:
                seen.add(owner[0])
                if load[owner[0]] < MOST_CHECKS:
                    yield owner
                else:
                    self._full.add(owner[0])

    def _leave_out(self) -> None:
        left = [
            (point, owner)
            for point, owner in zip(self._points, self._owners, strict=True)
            if owner[0] not in self._full
        ]
        self._points = [point for point, _ in left]
        self._owners = [owner for _, owner in left]
        self._full.clear()


class Near:
    """The rings around an endpoint, made when somebody asks."""

    def __init__(self, workloads: Iterable[MeshWorkload]) -> None:
        self._able = [each for each in workloads if each.outbound and each.ready and not each.terminating]
        self._groups: dict[tuple[str, ...], list[MeshWorkload]] = defaultdict(list)
        for each in self._able:
            self._groups[(each.namespace,)].append(each)
            if each.zone:
                self._groups[each.namespace, each.zone].append(each)
        self._rings: dict[tuple[str, ...], Ring] = {}

    def at_home(self, namespace: str, zone: str, place: int, load: Mapping[str, int]) -> Iterator[tuple[str, str]]:
        """Whoever is nearest first."""
        for where in ((namespace, zone), (namespace,)):
            yield from self._ring(where).walk(place, load)

    def elsewhere(self, place: int, load: Mapping[str, int]) -> Iterator[tuple[str, str]]:
        """Everybody."""
        return self._ring(()).walk(place, load)

    def _ring(self, where: tuple[str, ...]) -> Ring:
        ring = self._rings.get(where)
        if ring is None:
            ring = self._rings[where] = Ring(self._groups.get(where, ()) if where else self._able)
        return ring


def probed(mesh: Mesh, verdicts: Verdicts) -> Mesh:
    """The mesh with who checks whom, and what has come of it so far."""
    checks = assign(mesh.workloads, mesh.services, mesh.backends)
    if not checks:
        return mesh
    return msgspec.structs.replace(mesh, checks=checks, services=judge(mesh.services, checks, verdicts))


def assign(
    workloads: Mapping[str, MeshWorkload], services: Mapping[str, MeshService], backends: Mapping[str, MeshBackend]
) -> dict[str, tuple[MeshCheck, ...]]:
    """Workload → what it checks, by port. Who is not ready gets nothing new anyway, and need not be checked."""
    checked = list(_checked(services, backends))
    if not checked:
        return {}
    near, load = Near(workloads.values()), Counter[str]()
    found: dict[str, dict[str, list[MeshEndpoint]]] = defaultdict(lambda: defaultdict(list))
    for service, port, _, _ in checked:
        for endpoint in port.endpoints:
            if endpoint.ready:
                for id_ in _probers(near, load, service.namespace, port, endpoint):
                    found[id_][port.name].append(endpoint)
    ways = {port.name: (service, port, section, backend) for service, port, section, backend in checked}
    return {
        id_: tuple(_check(*ways[name], each) for name, each in sorted(ports.items())) for id_, ports in found.items()
    }


def _checked(
    services: Mapping[str, MeshService], backends: Mapping[str, MeshBackend]
) -> Iterator[tuple[MeshService, MeshPort, MeshHealthCheck, MeshBackend]]:
    for service in services.values():
        for port in service.ports:
            backend = backends[port.name]
            if backend.health_check is not None:
                yield service, port, backend.health_check, backend


def _probers(near: Near, load: Counter[str], namespace: str, port: MeshPort, endpoint: MeshEndpoint) -> list[str]:
    place = int.from_bytes(hashlib.blake2b(_key(port, endpoint).encode(), digest_size=8).digest())

    def first(owners: Iterator[tuple[str, str]]) -> list[str]:
        found: dict[str, None] = {}
        for id_, uid in owners:
            if uid != endpoint.uid:
                found[id_] = None
                if len(found) == PROBERS:
                    break
        return list(found)

    home = near.at_home(namespace, endpoint.zone, place, load)
    chosen = first(home) or first(near.elsewhere(place, load))
    load.update(chosen)
    return chosen


def _check(
    service: MeshService,
    port: MeshPort,
    section: MeshHealthCheck,
    backend: MeshBackend,
    endpoints: Iterable[MeshEndpoint],
) -> MeshCheck:
    if port.protocol == "TCP":
        section = msgspec.structs.replace(section, path="", statuses=())
    return MeshCheck(
        port=port.name,
        authority=f"{service.name}.{service.namespace}:{port.port}",
        section=section,
        endpoints=tuple(MeshProbed(each.uid, each.address, each.port, each.identity) for each in endpoints),
        origins=backend.origins,
    )


def _key(port: MeshPort, endpoint: MeshEndpoint) -> str:
    return key(port.name, endpoint.uid, endpoint.address, endpoint.port)


def unchecked(mesh: Mesh) -> dict[str, int]:
    """A Service's port → how many of its endpoints should be checked and have nobody who can, where there are any."""
    given = {
        key(check.port, each.uid, each.address, each.port)
        for checks in mesh.checks.values()
        for check in checks
        for each in check.endpoints
    }
    counts = {
        port.name: sum(each.ready and _key(port, each) not in given for each in port.endpoints)
        for _, port, _, _ in _checked(mesh.services, mesh.backends)
    }
    return {name: count for name, count in counts.items() if count}


def judge(
    services: Mapping[str, MeshService], checks: Mapping[str, tuple[MeshCheck, ...]], verdicts: Verdicts
) -> dict[str, MeshService]:
    """The Services with what is known of their endpoints."""
    if not verdicts or not checks:
        return dict(services)
    unhealthy = _unhealthy(checks, verdicts)
    return {name: _judged(service, unhealthy) for name, service in services.items()} if unhealthy else dict(services)


def _unhealthy(checks: Mapping[str, tuple[MeshCheck, ...]], verdicts: Verdicts) -> set[str]:
    """The endpoints of which most of those say so who have been given them."""
    votes: Counter[str] = Counter()
    for id_, told in verdicts.items():
        for check in checks.get(id_, ()):
            for each in check.endpoints:
                name = key(check.port, each.uid, each.address, each.port)
                if name in told:
                    votes[name] += 1 if told[name] else -1
    return {name for name, sum_ in votes.items() if sum_ < 0}


def _judged(service: MeshService, unhealthy: set[str]) -> MeshService:
    ports = tuple(_port(port, unhealthy) for port in service.ports)
    return service if ports == service.ports else msgspec.structs.replace(service, ports=ports)


def _port(port: MeshPort, unhealthy: set[str]) -> MeshPort:
    if not any(_key(port, each) in unhealthy for each in port.endpoints):
        return port
    endpoints = tuple(
        msgspec.structs.replace(each, healthy=False) if _key(port, each) in unhealthy else each
        for each in port.endpoints
    )
    return msgspec.structs.replace(port, endpoints=endpoints)
