"""What others come to: the port of sidecars and replicas, and that of the API server's webhooks. Wired by `process`.

Both are opened once there is a certificate to show. Before they are closed, streams are told to go elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from sidewinder_operator.admission.replica import Replica
from sidewinder_operator.admission.validate import against
from sidewinder_operator.compile.compiler import Options
from sidewinder_operator.discovery.departures import Departures
from sidewinder_operator.discovery.server import Discovery
from sidewinder_operator.discovery.session import Session
from sidewinder_operator.inject import options as injection
from sidewinder_operator.main.mesh_port import MeshPort
from sidewinder_operator.main.metrics import Family, Sample, one
from sidewinder_operator.main.supervise import Supervisor
from sidewinder_operator.problems import Problem
from sidewinder_operator.resources import Object

if TYPE_CHECKING:
    from sidewinder_operator.main.process import Process

log = logging.getLogger("sidewinder")

GOODBYE_SECONDS = 3.0  # for streams to end in good order; half of the clients come back within one
LOOK_SECONDS = 0.02


class Unable(Exception):
    """The process cannot start; says why."""


class Doors:
    """The two ports of one process, which has all its other parts already."""

    def __init__(self, process: Process, options: Options) -> None:
        self._process = process
        self._settings = process.settings
        self._options = options
        authority, neighbours = process.authority, process.neighbours
        departures = Departures(
            process.store,
            process.acks,
            whole=neighbours.whole,
            apart=neighbours.apart,
            held=process.drains.hold,
        )
        self.discovery = Discovery(
            process.store,
            process.acks,
            authority.name,
            lasting=authority.lasting,
            departures=departures,
            rejected=self._on_rejected,
            doubted=process.issuers.doubt,
            drained=process.drains.tell,
            resigned=process.resign,
        )
        self.rejections = 0
        application = self.discovery.application()
        application.router.add_post("/enrol", authority.enrolment.serve)
        neighbours.feed.route(application)
        self.port = MeshPort(
            application, authority.credentials.server, self._settings.address, self._settings.discovery_port
        )
        authority.keeper.watch(lambda trust: self.port.end(authority.trusts))
        self.admission = self._webhooks() if self._settings.injection else None
        process.metrics.add(*self._families())

    def _webhooks(self) -> Replica:
        process, authority = self._process, self._process.authority
        reviews = process.metrics.histogram("admission_seconds", "Reviews of the API server, answered.")
        return Replica(
            _injection(self._settings.injection), authority.names, process.api, authority.keeper.current,
            process.lease.leader, process.watch.labels, self._others, observe=reviews.observe,
        )  # fmt: skip

    def bind(self) -> None:
        """Takes the port. Raises Unable."""
        try:
            self.port.bind()
        except OSError as fault:
            at = f"SIDEWINDER_DISCOVERY_PORT={self._settings.discovery_port}"
            raise Unable(f"{at}: {self._settings.address or 'any'}: {fault.strerror or fault}") from None

    def start(self, supervisor: Supervisor) -> None:
        """Opens them as soon as they can be."""
        supervisor.start("discovery port", self._serve)
        if self.admission is not None:
            supervisor.start("admission port", self._admit)

    def needs(self) -> Mapping[str, Callable[[], bool]]:
        """What must hold before this replica is ready."""
        found: dict[str, Callable[[], bool]] = {"the discovery port": lambda: self.port.address is not None}
        if (replica := self.admission) is not None:
            found["the admission port"] = lambda: bool(replica.admission.address[0])
        return found

    async def close(self) -> None:
        """Sends everybody elsewhere; the ports are closed with their tasks."""
        self.discovery.close()
        for _ in range(int(GOODBYE_SECONDS / LOOK_SECONDS)):
            if not self.discovery.clients:
                return
            await asyncio.sleep(LOOK_SECONDS)

    def _on_rejected(self, workload: str, session: Session) -> None:
        """What the data plane refuses that compile took is a mistake of ours: the log has all of it."""
        self.rejections += 1
        for rejection in session.rejections.values():
            log.error("%s refuses %s: %s: %s", workload, rejection.resource, rejection.field, rejection.why)

    async def _serve(self) -> None:
        """Who asks is known by a certificate and a pod: nobody is turned away for what is not known yet."""
        await self._process.watch.synced()
        await self._process.authority.credentials.ready.wait()
        await self.port.run()

    async def _admit(self) -> None:
        assert self.admission is not None
        await self._process.authority.keeper.loaded.wait()
        await self.admission.run(self._settings.address, self._settings.admission_port)

    def _others(self, found: Object) -> Iterable[Problem]:
        """What would be wrong with an object beside the others; asked in a thread, of what never changes."""
        done = self._process.round
        return against(done.collected.cluster, found, self._options) if done is not None else ()

    def _families(self) -> tuple[Family, ...]:
        port, clients = self.port, self.discovery.clients
        return (
            Family("streams", "gauge", "Streams of sidecars.", one(lambda: len(clients))),
            Family("connections_total", "counter", "Connections that asked something.", one(lambda: port.connections)),
            Family(
                "connection_failures_total", "counter", "Handshakes that failed, and connections that asked nothing.",
                one(lambda: port.failures),
            ),
            Family("rejections_total", "counter", "Pictures that sidecars refused.", one(lambda: self.rejections)),
            Family("reviews_total", "counter", "Admission reviews.", self._reviews),
        )  # fmt: skip

    def _reviews(self) -> Iterable[Sample]:
        counted = self.admission.admission.outcomes if self.admission is not None else {}
        return [({"path": path, "outcome": outcome}, float(n)) for (path, outcome), n in counted.items()]


def _injection(path: str) -> injection.Options:
    try:
        return injection.load(path)
    except injection.Unusable as fault:
        raise Unable(f"SIDEWINDER_INJECTION: {fault}") from None
