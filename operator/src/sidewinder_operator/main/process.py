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

from aiohttp import web

from sidewinder_operator.apiserver import FAILURES, ApiServer
from sidewinder_operator.compile.compiler import Options, Running
from sidewinder_operator.compile.conditions import statuses
from sidewinder_operator.discovery.acks import Acks
from sidewinder_operator.discovery.store import Store
from sidewinder_operator.handlers.thread import Handlers
from sidewinder_operator.main import pages
from sidewinder_operator.main.leader import Leader
from sidewinder_operator.main.metrics import Metrics
from sidewinder_operator.main.supervise import Supervisor
from sidewinder_operator.problems import Reference
from sidewinder_operator.reconcile import Collected, Reconciler, Round
from sidewinder_operator.resources import Object
from sidewinder_operator.settings import Settings
from sidewinder_operator.status.content import Told
from sidewinder_operator.status.writer import Writer
from sidewinder_operator.watch.collect import Known, Watch
from sidewinder_operator.watch.kinds import path_of
from sidewinder_operator.watch.lease import Lease
from sidewinder_operator.watch.revisions import Revisions

log = logging.getLogger("sidewinder")

LEASE = "sidewinder-operator"
AGAIN_SECONDS = 2.0  # while the API server cannot say what was good


class Unable(Exception):
    """The process cannot start; says why."""


class Process:
    """Everything that lives as long as the process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.identity = f"{settings.pod_name or socket.gethostname()}-{secrets.token_hex(4)}"
        token = Path(settings.api_token_file) if settings.api_token_file else None
        authority = Path(settings.api_authority_file) if settings.api_authority_file else None
        self.api = ApiServer(settings.api_server, token_file=token, authority=authority)
        # what it knows
        self.watch = Watch(self.api, self._on_change)
        self.revisions = Revisions(self.api, settings.namespace)
        # what it serves
        self.store = Store()
        self.acks = Acks(self.store)
        options = Options(
            system_namespace=settings.namespace,
            cluster_domain=settings.cluster_domain,
            trace_percent=settings.trace_percent,
        )
        self.reconciler = Reconciler(self.store, self._collect, self._report, options=options)
        self.round: Round | None = None
        self.known: Known | None = None
        self.pushes = 0
        # what it does when it leads
        self.lease = Lease(self.api, settings.namespace, LEASE, self.identity)
        self.writer = Writer(self.api.send, path_of, self.lease.leader, self._told, who=self.identity[:128])
        self.handlers = Handlers(settings.api_server, token, authority, self.writer.mark)
        self.leader = Leader(
            self.writer, self.handlers, self.revisions, self.lease.leader, lambda: self.reconciler.last_good
        )
        self.acks.watch(self.writer.ring)
        # what watches it
        self.supervisor = Supervisor()
        self.metrics = Metrics()
        self.turns = self.metrics.histogram("turn_seconds", "Collecting, compiling and publishing, one turn.")
        # what else must hold before it serves: its name → whether it does
        self.needs: dict[str, Callable[[], bool]] = {
            kind: reflector.synced.is_set for kind, reflector in self.watch.reflectors.items()
        }
        self.needs["the first turn"] = lambda: self.round is not None
        self._served = False
        self.leave = asyncio.Event()

    async def run(self) -> None:
        """Serves until a signal. Raises Unable."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.leave.set)
        health = await self._open_health()
        for kind, reflector in self.watch.reflectors.items():
            self.supervisor.start(f"reflector {kind}", reflector.run)
        self.supervisor.start("serve", self._serve)
        await self.leave.wait()
        log.info("stopping")
        await self.supervisor.stop()
        await health.cleanup()
        await self.api.close()

    # 1. What it knows, before it says anything.

    async def _serve(self) -> None:
        """Nothing is published and nobody leads before everything is known: half a cluster is a wrong one."""
        await self.watch.synced()
        self.reconciler.last_good = await self._good()
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
        if self.watch.whole:
            self.reconciler.ring()

    # 2. What it makes of it.

    def _collect(self) -> Collected:
        known = self.known = self.watch.look()
        running = Running(pods=known.pods)
        return Collected(cluster=known.cluster, problems=known.problems, wrecks=known.wrecks, running=running)

    def _report(self, done: Round) -> None:
        assert self.known is not None
        self.round = done
        self.pushes += len(done.changed)
        self.turns.observe(done.seconds)
        told = statuses(done.collected.cluster, done.compiled, done.collected.problems)
        self.writer.offer(told, self.known.numbers)
        self.leader.ring()

    def _told(self, sources: Collection[Reference]) -> Mapping[Reference, Told]:
        standings = self.acks.standings(sources)
        return {source: Told(standing=standing, name=self._name) for source, standing in standings.items()}

    def _name(self, workload: str) -> str:
        pod = self.watch.pod(workload)
        return f"{pod.namespace}/{pod.name}" if pod is not None else workload

    def problems(self) -> dict[str, float]:
        """How many there are of each severity."""
        found = Counter(problem.severity for problem in self.round.problems) if self.round is not None else Counter()
        return {severity: float(found[severity]) for severity in ("Error", "Warning")}

    # 3. Who may ask.

    def lacking(self) -> list[str]:
        """What keeps it from serving; once it has served, nothing: it serves on with what it has."""
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
