"""From what users wrote to what it means: the one recipe. Called by `local`, `reconcile`, the CLI and admission alike.

Pure and deterministic: everything is sorted, there is no clock, and nothing that a user wrote raises. A mistake is a
Problem.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from sidewinder_operator.compile import in_front, keys, mtls, probers
from sidewinder_operator.compile.attachment import World, attach
from sidewinder_operator.compile.conflicts import conflicts
from sidewinder_operator.compile.identities import Identities
from sidewinder_operator.compile.last_good import LastGood, heal, remember
from sidewinder_operator.compile.policies import policies
from sidewinder_operator.compile.registry import ROWS
from sidewinder_operator.compile.routes import Routing, captures, routes, routing
from sidewinder_operator.compile.sections import Attachments, Kept, Row, service_chain
from sidewinder_operator.compile.services import backend, services, with_last_resorts
from sidewinder_operator.compile.targets import survey
from sidewinder_operator.compile.workloads import Selection, gateways, workloads
from sidewinder_operator.compile.wreck import Wreck
from sidewinder_operator.mesh import Mesh, Outbound
from sidewinder_operator.mesh.services import MeshBackend, MeshPort, MeshService
from sidewinder_operator.mesh.workloads import PodReplica, Replica, WayIn
from sidewinder_operator.problems import Problem, Reference
from sidewinder_operator.resources import FIELDS, Cluster, Key, Object


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for the whole mesh and is written in no object."""

    system_namespace: str = "sidewinder-system"  # the only one from which a policy may target the mesh
    cluster_domain: str = "cluster.local"
    trace_percent: float = 1.0
    outbound: Outbound = "Allow"


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """What runs, told by whoever starts it."""

    replicas: tuple[Replica, ...] = ()
    pods: tuple[PodReplica, ...] = ()
    ways_in: tuple[WayIn, ...] = ()
    verdicts: probers.Verdicts = {}  # what proxies have found out of the endpoints that they check
    left: Collection[str] = ()  # pods that terminate and were taken out of all endpoints: they do not come back


class Compiled(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `cluster` is what was compiled: broken objects that were good once (`stale`) as they were.
    `kept` is what sections were built of, for the next time: lists that break are as they last were."""

    mesh: Mesh
    problems: tuple[Problem, ...]
    last_good: dict[Reference, Object]
    stale: frozenset[Reference]
    cluster: Cluster
    attachments: Attachments
    kept: Kept = {}


_NOWHERE = Running()
_DEFAULTS = Options()


def compile_cluster(
    cluster: Cluster,
    last_good: LastGood | None = None,
    *,
    running: Running = _NOWHERE,
    wrecks: Iterable[Wreck] = (),
    options: Options = _DEFAULTS,
    rows: tuple[Row, ...] = ROWS,
    kept: Kept | None = None,
) -> Compiled:
    """The mesh that a cluster means, what is wrong with it, and what is good from now on."""
    previous = last_good or {}
    problems: list[Problem] = []
    healed, stale = heal(_ordered(cluster), previous)
    world = World(survey(healed, options.system_namespace), rows, previous, stale, tuple(wrecks), problems, kept or {})
    attachments = attach(world)
    found = workloads(healed, running.replicas, running.pods)
    selection = Selection(healed, found)
    called = services(healed, selection, Identities(found, options.cluster_domain), stale, problems, running.left)
    routed = routing(healed, called, attachments, rows, stale, problems)
    meant = routes(routed)
    problems.extend(conflicts(meant, routed.placed))
    problems.extend(in_front.mistakes(healed))
    owned = selection.owned(found, _obeying(attachments, rows, called))
    ruled, held = policies(owned, selection, attachments, rows, healed)
    problems.extend(mtls.weaker(attachments))
    problems.extend(keys.problems(healed))
    mesh = Mesh(
        workloads=with_last_resorts(ruled, called),
        gateways=gateways(running.ways_in),
        services={name: _placed(routed, service, rows) for name, service in called.items()},
        backends=_backends(routed, called),
        routes=dict(sorted(meant.items())),
        policies=held,
        cluster_domain=options.cluster_domain,
        trace_percent=options.trace_percent,
        outbound=options.outbound,
    )
    told = tuple(sorted(problems, key=_order))
    return Compiled(
        mesh=probers.probed(mesh, running.verdicts),
        problems=told,
        last_good=remember(healed, previous, _faulty(told)),
        stale=stale,
        cluster=healed,
        attachments=attachments,
        kept=attachments.kept(rows),
    )


def _ordered(cluster: Cluster) -> Cluster:
    """The cluster with its mappings sorted, as they should be already: a loader's order must never show."""
    changed = {}
    for name in FIELDS.values():
        found: Mapping[Key, Object] = getattr(cluster, name)
        if list(found) != sorted(found):
            changed[name] = dict(sorted(found.items()))
    return msgspec.structs.replace(cluster, **changed) if changed else cluster


def _placed(routed: Routing, service: MeshService, rows: tuple[Row, ...]) -> MeshService:
    """The Service with its routes, and with which of its ports only HTTP may come to."""
    gained: dict[str, dict[str, Any]] = {name: {**fields} for name, fields in captures(routed, service).items()}
    readers = tuple(row for row in rows if row.written.HTTP)
    for port in service.ports:
        if _has(routed.attachments, readers, service, port):
            gained.setdefault(port.name, {})["judged"] = True
    if not gained:
        return service
    ports = tuple(msgspec.structs.replace(port, **gained.get(port.name, {})) for port in service.ports)
    return msgspec.structs.replace(service, ports=ports)


def _obeying(attachments: Attachments, rows: tuple[Row, ...], called: dict[str, MeshService]) -> frozenset[str]:
    """The ports of Services with a section that their own proxies obey request by request."""
    servers = tuple(row for row in rows if row.written.HTTP and not row.client)
    ports = ((service, port) for service in called.values() for port in service.ports) if servers else ()
    return frozenset(port.name for service, port in ports if _has(attachments, servers, service, port))


def _has(attachments: Attachments, rows: tuple[Row, ...], service: MeshService, port: MeshPort) -> bool:
    """Is one of the sections attached to this Service, or to this port of it?"""
    *_, whole = service_chain(service.namespace, service.name, "")
    *_, own = service_chain(service.namespace, service.name, port.label)
    return attachments.any_on(rows, whole) or attachments.any_on(rows, own)


def _backends(routed: Routing, called: dict[str, MeshService]) -> dict[str, MeshBackend]:
    """Every port's own way of being called, and the variants that routes have asked for."""
    own = {
        port.name: backend(routed.attachments, routed.rows, service, port)
        for service in called.values()
        for port in service.ports
    }
    return dict(sorted({**own, **routed.backends}.items()))


def _faulty(problems: Iterable[Problem]) -> frozenset[Reference]:
    """Policies with a section that cannot be built; a target that is missing or taken is no fault of the policy's."""
    return frozenset(
        problem.reference
        for problem in problems
        if problem.section and problem.severity == "Error" and problem.field.startswith(f"spec.{problem.section}")
    )


def _order(problem: Problem) -> tuple[Reference, str, str, str, str]:
    return problem.reference, problem.field, problem.section, problem.reason, problem.message
