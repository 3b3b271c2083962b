"""The recipe: one replica from its settings to its last line. Run by `main.main` on uvloop.

Every replica follows the cluster, compiles and serves; the one that holds the Lease also writes. kopf runs in a thread
of its own (`handlers`), everything else in this loop.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import socket
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec
from aiohttp import web

from sidewinder_operator import VERSION
from sidewinder_operator.apiserver import FAILURES, ApiServer
from sidewinder_operator.authority.rotation import Rotation
from sidewinder_operator.compile import keys
from sidewinder_operator.compile.compiler import Options, Running
from sidewinder_operator.compile.conditions import statuses
from sidewinder_operator.discovery.acks import Acks
from sidewinder_operator.discovery.drains import Drains
from sidewinder_operator.discovery.lag import Lag
from sidewinder_operator.discovery.store import Store
from sidewinder_operator.handlers.thread import Handlers
from sidewinder_operator.main import ejections, pages
from sidewinder_operator.main.authority import Authority
from sidewinder_operator.main.census import Census
from sidewinder_operator.main.doors import Doors, Unable
from sidewinder_operator.main.evidence import Witness
from sidewinder_operator.main.issuers import Issuers
from sidewinder_operator.main.leader import Leader
from sidewinder_operator.main.memory import Trimmer
from sidewinder_operator.main.metrics import Metrics
from sidewinder_operator.main.neighbours import Neighbours
from sidewinder_operator.main.supervise import Supervisor
from sidewinder_operator.problems import Reference
from sidewinder_operator.reconcile import Collected, Reconciler, Round
from sidewinder_operator.resources import Object
from sidewinder_operator.settings import Settings
from sidewinder_operator.status.content import Told
from sidewinder_operator.status.notices import Notices
from sidewinder_operator.status.writer import Writer
from sidewinder_operator.watch.collect import Known, Watch
from sidewinder_operator.watch.kinds import path_of
from sidewinder_operator.watch.lease import Lease
from sidewinder_operator.watch.revisions import Revisions

log = logging.getLogger("sidewinder")

LEASE = "sidewinder-operator"
AGAIN_SECONDS = 2.0  # while the API server cannot say what was good


class Process:
    """Everything that lives as long as the process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.identity = f"{settings.pod_name or socket.gethostname()}-{secrets.token_hex(4)}"
        token = Path(settings.api_token_file) if settings.api_token_file else None
        authority = Path(settings.api_authority_file) if settings.api_authority_file else None
        self.api = ApiServer(settings.api_server, token_file=token, authority=authority)
        # what it knows
        self.watch = Watch(self.api, self._on_change, start=lambda name, work: self.supervisor.start(name, work))
        self.revisions = Revisions(self.api, settings.namespace)
        # what it serves
        self.store = Store()
        self.acks = Acks(self.store)
        self.resigned: set[str] = set()  # last resorts that end all the same
        options = Options(
            system_namespace=settings.namespace,
            cluster_domain=settings.cluster_domain,
            trace_percent=settings.trace_percent,
            outbound=settings.outbound,
        )
        self.reconciler = Reconciler(self.store, self._collect, self._report, options=options)
        self.watch.good = lambda: self.reconciler.last_good.values()
        self.round: Round | None = None
        self.known: Known | None = None
        self.pushes = self.turned = 0
        self.metrics = Metrics()
        self.turns = self.metrics.histogram("turn_seconds", "Collecting, compiling and publishing, one turn.")
        lags = self.metrics.histogram("acknowledgement_seconds", "From a new picture to its acknowledgement.")
        self.lag = Lag(self.acks, lags.observe)
        took = self.metrics.histogram("drain_seconds", "Drains of proxies, from SIGTERM to their end.")
        self.drains = Drains(self._name, took.observe)
        self._lead(token, authority)
        self.issuers = Issuers(self.api, settings.namespace, self.lease.leader, self._on_change)
        self._let_in(options)
        # what watches it
        self.supervisor = Supervisor()
        self.memory = Trimmer(lambda: self.turned + self.doors.port.connections)
        # what else must hold before it serves: its name → whether it does
        self.needs: dict[str, Callable[[], bool]] = {
            kind: reflector.synced.is_set for kind, reflector in self.watch.reflectors.items()
        }
        self.needs["the first turn"] = lambda: self.round is not None
        self.needs["issuers' keys"] = self.issuers.maps.synced.is_set
        self.needs["CA"] = self.authority.keeper.loaded.is_set
        self.needs |= self.doors.needs()
        self._served = False
        self.leave = asyncio.Event()

    def _lead(self, token: Path | None, authority: Path | None) -> None:
        """What it does when it leads."""
        settings = self.settings
        self.lease = Lease(self.api, settings.namespace, LEASE, self.identity)
        self.writer = Writer(
            self.api.send, path_of, self.lease.leader, self._told, who=self.identity[:128], hold=self._is_unsure
        )
        self.handlers = Handlers(settings.api_server, token, authority, self.writer.mark)
        self.leader = Leader(
            self.writer, self.handlers, self.revisions, self.lease.leader, lambda: self.reconciler.last_good
        )
        self.acks.watch(self.writer.ring)
        self.acks.care(self.reconciler.ring)

    def _let_in(self, options: Options) -> None:
        """Who may come, to which door; and what the leader does for them."""
        settings = self.settings
        enrolments = self.metrics.histogram("enrolment_seconds", "Certificates for sidecars, from request to answer.")
        self.authority = Authority(self.api, settings, self.watch, self.lease.leader, self.identity, enrolments)
        self.neighbours = Neighbours(settings, self.authority, self.watch, self.acks, self.writer.ring)
        self.doors = Doors(self, options)
        self.metrics.add(*self.authority.families(), *self.issuers.families())
        lifetime = float(settings.certificate_seconds)
        self.census = Census(self.watch, self.acks, self.authority, settings.namespace, VERSION, lifetime)
        self.notices = Notices(self.api.send, self.lease.leader, self.census.notices, who=self.identity[:128])
        self.leader.duties += [self.authority.publish, self.notices.run, self._rotation().run, self.issuers.lead]
        if self.doors.admission is not None:
            self.leader.duties.append(self.doors.admission.publish)

    async def run(self) -> None:
        """Serves until a signal. Raises Unable."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.leave.set)
        self.doors.bind()
        try:
            health = await self._open_health()
        except Unable:
            self.doors.port.release()
            raise
        for kind, reflector in self.watch.reflectors.items():
            self.supervisor.start(f"reflector {kind}", reflector.run)
        self.authority.start(self.supervisor)
        self.issuers.start(self.supervisor)
        self.doors.start(self.supervisor)
        self.neighbours.start(self.supervisor)
        self.supervisor.start("serve", self._serve)
        self.supervisor.start("memory", self.memory.run)
        await self.leave.wait()
        log.info("stopping")
        await self.doors.close()
        await self.supervisor.stop()
        await health.cleanup()
        await self.api.close()

    def _rotation(self) -> Rotation:
        unheard = self.neighbours.peers.unheard
        witness = Witness(self.acks, self.store.pictures.keys, self.authority.lacking, unheard, self._name)
        settings = self.settings
        return Rotation(self.api, settings.namespace, settings.cluster_domain, self.lease.leader, witness.evidence)

    # 1. What it knows, before it says anything.

    async def _serve(self) -> None:
        """Nothing is published and nobody leads before everything is known: half a cluster is a wrong one."""
        await self.watch.synced()
        await self.issuers.maps.synced.wait()  # else proxies would be told that there are no keys
        self.reconciler.last_good = await self._good()
        await self.watch.settled()
        self.reconciler.once()
        log.info("everything is known: %d proxies are served", len(self.store.pictures))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.reconciler.run(), name="reconciler")
            group.create_task(self.lease.run(self.leader.lead), name="lease")

    async def _good(self) -> Mapping[Reference, Object]:
        while True:
            try:
                return await self.revisions.read()
            except FAILURES as fault:
                log.warning("what was good last cannot be read: %s", str(fault) or type(fault).__name__)
            await asyncio.sleep(AGAIN_SECONDS)

    def _on_change(self) -> None:
        self.authority.ring()
        if self.watch.whole:
            self.reconciler.ring()

    # 2. What it makes of it.

    def _collect(self) -> Collected:
        known = self.known = self.watch.look()
        running = Running(pods=known.pods, verdicts=self.acks.health(), left=self._left())
        cluster = msgspec.structs.replace(known.cluster, keys=self.issuers.keys())
        return Collected(cluster=cluster, problems=known.problems, wrecks=known.wrecks, running=running)

    def resign(self, workload: str) -> None:
        """A last resort ends: it is none any more."""
        self.resigned.add(workload)
        self.reconciler.ring()

    def _left(self) -> frozenset[str]:
        """Who is no last resort any more: this replica has said that it names them no longer, or another has."""
        self.resigned &= self.store.pictures.keys()
        return frozenset(self.store.leaving | self.resigned | self.acks.sworn())

    def _report(self, done: Round) -> None:
        assert self.known is not None
        self.round = done
        self.pushes += len(done.changed)
        self.turned += 1
        self.lag.published(done.changed)
        self.turns.observe(done.seconds)
        self.issuers.want(keys.wanted(done.compiled.cluster))
        told = statuses(done.collected.cluster, done.compiled, done.collected.problems)
        self.writer.offer(told, self.known.numbers)
        self.leader.ring()

    def _told(self, sources: Collection[Reference]) -> Mapping[Reference, Told]:
        standings, unheard = self.acks.standings(sources), self.neighbours.peers.unheard()
        ejected = ejections.by_policy(self.acks.having.values(), self.round)
        return {
            source: Told(standing=standing, unheard=unheard, name=self._name, ejected=ejected.get(source, ()))
            for source, standing in standings.items()
        }

    def _is_unsure(self) -> bool:
        return self.neighbours.peers.unsure()

    def _name(self, workload: str) -> str:
        pod = self.watch.pod(workload)
        return f"{pod.namespace}/{pod.name}" if pod is not None else workload

    def problems(self) -> dict[str, float]:
        """How many there are of each severity."""
        found = Counter(problem.severity for problem in self.round.problems) if self.round is not None else Counter()
        return {severity: float(found[severity]) for severity in ("Error", "Warning")}

    # 3. Who may ask.

    def lacking(self) -> list[str]:
        """What keeps it from serving. Once it has served, only its own end: it serves on with what it has."""
        if self.leave.is_set():
            return ["the end"]
        missing = [] if self._served else [name for name, holds in self.needs.items() if not holds()]
        self._served = not missing
        return missing

    async def _open_health(self) -> web.AppRunner:
        pages.measure(self)
        runner = web.AppRunner(pages.application(self), access_log=None)
        await runner.setup()
        address, port = self.settings.health_address, self.settings.health_port
        try:
            await web.TCPSite(runner, address, port).start()
        except OSError as fault:
            raise Unable(f"SIDEWINDER_HEALTH_PORT={port}: {address}: {fault.strerror or fault}") from None
        log.info("health port on %s:%d", *runner.addresses[0][:2])
        return runner


async def serve(settings: Settings) -> None:
    """One process, start to end. Raises Unable."""
    await Process(settings).run()
