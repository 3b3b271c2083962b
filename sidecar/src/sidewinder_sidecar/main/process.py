"""The recipe: one process from its settings to its last line. Run by `main.main` on uvloop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from sidewinder_sidecar.admin import Door
from sidewinder_sidecar.discovery import keep
from sidewinder_sidecar.discovery.dial import Dial, Tls, Unix
from sidewinder_sidecar.discovery.doubts import Doubts
from sidewinder_sidecar.discovery.reports import Reports
from sidewinder_sidecar.discovery.stream import Discovery
from sidewinder_sidecar.discovery.transaction import Held, Refusal
from sidewinder_sidecar.discovery.wants import Wants, is_known
from sidewinder_sidecar.exchange import Proxy
from sidewinder_sidecar.fleet import Fleet
from sidewinder_sidecar.main import breakers, pages
from sidewinder_sidecar.main.configure import Configuration, load
from sidewinder_sidecar.main.draining import Drain
from sidewinder_sidecar.main.listeners import Listeners
from sidewinder_sidecar.main.memory import Trimmer
from sidewinder_sidecar.main.supervise import Supervisor, every
from sidewinder_sidecar.settings import Settings, authority
from sidewinder_sidecar.snapshot import stream
from sidewinder_sidecar.snapshot.checks import ChecksSpec
from sidewinder_sidecar.telemetry.access_log import AccessLog
from sidewinder_sidecar.telemetry.metrics import Metrics
from sidewinder_sidecar.telemetry.record import Recorder
from sidewinder_sidecar.telemetry.spans import Spans, Target
from sidewinder_sidecar.telemetry.writer import Writer
from sidewinder_sidecar.tls.keyring import Keyring
from sidewinder_sidecar.upstream.ask import Asker
from sidewinder_sidecar.upstream.endpoint import Endpoint
from sidewinder_sidecar.upstream.health import Checks
from sidewinder_sidecar.wheel import Wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidewinder_sidecar.identity.files import Held as Shown
    from sidewinder_sidecar.identity.renewal import Identity
    from sidewinder_sidecar.identity.watched import Watched
    from sidewinder_sidecar.snapshot.upstreams import EndpointSpec

log = logging.getLogger("sidewinder")

LOOPBACK = "127.0.0.1"
TELL_SECONDS = 2.0  # at the end, for a slow log or receiver


class Unable(Exception):
    """The process cannot start; says why."""


class Process:
    """Everything that lives as long as the process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.began = time.time()
        # what is told
        self.metrics = Metrics()
        self.recorder = Recorder(self.metrics, self._access_log(), self._spans())
        # what serves
        limits = settings.limits
        wheel = Wheel.of(asyncio.get_running_loop())
        self.keyring = keyring = Keyring()
        fleet = Fleet(wheel, lambda spec, seconds: Endpoint(self._dialled(spec), limits, wheel, seconds, keyring))
        self.asker = Asker(wheel, fleet.make)
        fleet.means.ask = self.asker.ask
        self.checks = Checks(wheel, fleet.make)
        self.reports = Reports(lambda: breakers.seen(fleet, wheel.clock(), time.time()))
        self.proxy = Proxy(fleet, wheel, self.recorder, limits)
        self.proxy.keyring = keyring
        self.proxy.record_relayed = self.recorder.relayed
        self.proxy.traces = self.recorder.spans is not None
        self.listeners = Listeners(self.proxy)
        self.drain = Drain(self.proxy, self.listeners, limits, settings.pod_uid, self.metrics.served)
        # what it is told to do
        self.configuration = Configuration(self.proxy, self.listeners)
        self.source = ""
        self.discovery: Discovery | None = None
        self.identity: Identity | Watched | None = None
        self.look: Callable[[], None] | None = None  # whether the identity's files have changed
        self.wants = Wants(wheel, lambda key: is_known(self.proxy.plan, key))
        self.doubts = Doubts(wheel)
        fleet.means.unknown_key = self.doubts.ask
        self.keeper: keep.Keeper | None = None
        # what watches
        self.supervisor = Supervisor()
        self.trimmer = Trimmer(lambda: self.listeners.connections, limits.upstream_idle_seconds)
        self.probe = Door({})
        self.admin = Door({}, loopback=True)
        self.leave = asyncio.Event()
        self.hurry = asyncio.Event()

    async def run(self) -> None:
        """Serve until a signal, drain, say the last words. Raises Unable."""
        self._hear_signals()
        self._watch_identity()
        if self.settings.discovery:
            await self._configure_by_discovery()
        elif self.settings.snapshot:
            await self._configure_by_file()
        await self._open_doors()
        self.supervisor.start("flush", lambda: every(1.0, self.tick))
        await self.leave.wait()
        self.checks.close()
        await self.drain.finish(self.hurry)
        if self.discovery is not None:
            await self.discovery.tell(self.drain.report())
        await self.supervisor.stop()
        if self.keeper is not None:
            await self.keeper.flush()
        self.asker.close()
        self.probe.close()
        self.admin.close()

    # 1. What is told.

    def _access_log(self) -> AccessLog | None:
        where = self.settings.access_log
        if where == "off":
            return None
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            descriptor = {"stdout": 1, "stderr": 2}.get(where) or os.open(where, flags, 0o640)
        except OSError as fault:
            raise Unable(f"SIDEWINDER_ACCESS_LOG={where!r}: {fault.strerror}") from None
        return AccessLog(Writer(descriptor), self.settings.access_log_query)

    def _spans(self) -> Spans | None:
        settings = self.settings
        if not settings.otlp_endpoint:
            return None
        return Spans(self._target, settings.span_queue, settings.access_log_query)

    def _target(self) -> Target:
        proxy = self.proxy.plan.proxy
        resource = {
            "service.name": proxy.service or proxy.name,
            "service.namespace": proxy.namespace,
            "service.instance.id": self.settings.pod_name or f"{proxy.name}-{os.getpid()}",
        }
        return Target(self.settings.otlp_endpoint, self.settings.otlp_headers, resource)

    def tick(self) -> None:
        """Once a second."""
        self.recorder.flush()
        self.trimmer.tick()
        self.reports.tick()
        self.keyring.sweep()
        if self.look is not None:
            self.look()

    # 2. What it is told to do.

    async def _configure_by_file(self) -> None:
        try:
            held = load(self.settings.snapshot)
            await self.configuration.apply(held.resources)
        except Refusal as fault:
            raise Unable(f"SIDEWINDER_SNAPSHOT={self.settings.snapshot!r}: {fault}") from None
        self.configuration.state = held.state
        self.source = f"file {self.settings.snapshot}"
        self._check(held)

    async def _configure_by_discovery(self) -> None:
        held, epoch = Held(), 0
        dial = self._dial()  # before what was kept serves: it may call with a certificate that was kept, too
        if self.settings.keep:
            held, epoch = keep.read(self.settings.keep)
            self.keeper = keep.Keeper(self.settings.keep)
            self.supervisor.start("keep", self.keeper.run)
        if held.resources:
            try:
                await self.configuration.apply(held.resources)
                self._on_applied(held, epoch, "kept")
                self.doubts.on_applied(held.resources)
            except Refusal as fault:
                log.error("%s: the kept configuration cannot serve: %s", self.settings.keep, fault)
                held = Held()
        self.discovery = Discovery(
            dial,
            self.configuration.apply,
            held=held,
            epoch=epoch,
            build=pages.VERSION,
            kept=self._on_heard,
            wants=self.wants,
            doubts=self.doubts,
            checks=self.checks,
            reports=self.reports,
            settled=self.configuration.is_settled,
            retired=self.drain.on_retired,
            trusts=self._trusts,
        )
        self.drain.resign = self.discovery.tell
        self.configuration.on_settled = self.discovery.release
        self.proxy.fetch = self.wants.fetch
        self.supervisor.start("discovery", self.discovery.run)

    def _dial(self) -> Dial:
        """The way to the operator; with the identity that it takes."""
        where = self.settings.discovery
        if where.startswith("unix:"):
            return Unix(where.removeprefix("unix:"))
        from sidewinder_sidecar.identity.files import Files  # 0.1 MB that a proxy without one never needs
        from sidewinder_sidecar.identity.renewal import Identity

        self.identity = Identity(Files(self.settings), renewed=self._on_renewed, changed=self._on_identity)
        self.identity.look()
        self.supervisor.start("identity", self.identity.run)
        return Tls(*authority(where), self.identity)

    def _watch_identity(self) -> None:
        """Somebody else writes our certificate, if there is no token to enrol with."""
        if not self.settings.identity or self.settings.token:
            return
        from sidewinder_sidecar.identity.files import Files
        from sidewinder_sidecar.identity.watched import Watched

        self.identity = watched = Watched(Files(self.settings), changed=self._on_identity)
        self.look = watched.look
        watched.look()

    def _on_identity(self, held: Shown) -> None:
        """From the next handshake on."""
        try:
            self.keyring.renew(held.pair, held.trust)
        except (ValueError, OSError) as fault:  # Unfit and SSLError among them: what was in use stays
            log.error("identity: it cannot be shown to other proxies: %s", fault)

    def _dialled(self, spec: EndpointSpec) -> EndpointSpec:
        """Our own application is called past ourselves: what we send to our own pod is never redirected to us."""
        own = spec.identity and spec.uid == self.settings.pod_uid
        return msgspec.structs.replace(spec, identity="") if own else spec

    def _trusts(self) -> stream.Trusts | None:
        held = self.identity.held if self.identity is not None else None
        if held is None:
            return None
        return stream.Trusts(tuple(root.sha256[:16] for root in held.roots), held.standing == "current")

    def _on_renewed(self) -> None:
        if self.discovery is not None:
            self.discovery.reconnect()

    def _on_heard(self, held: Held, epoch: int) -> None:
        self._on_applied(held, epoch, "discovery")
        if self.keeper is not None:
            self.keeper.offer(held, epoch)

    def _on_applied(self, held: Held, epoch: int, source: str) -> None:
        self.configuration.state = held.state
        self.source = source
        self.drain.follow(held.resources)
        self._check(held)

    def _check(self, held: Held) -> None:
        """Whom this proxy looks after."""
        checks = held.resources.get("checks/self")
        self.checks.follow(checks if isinstance(checks, ChecksSpec) else None)

    # 3. Who may look.

    async def _open_doors(self) -> None:
        pages.gauges(self)
        self.probe.pages = pages.probes(self)
        self.admin.pages = pages.doors(self)
        settings = self.settings
        for what, door, address, port in (
            ("probe", self.probe, settings.probe_address, settings.probe_port),
            ("admin", self.admin, LOOPBACK, settings.admin_port),
        ):
            try:
                await door.open(address, port)
            except OSError as fault:
                raise Unable(f"SIDEWINDER_{what.upper()}_PORT={port}: {address}: {fault.strerror or fault}") from None
            log.info("%s port on %s:%d", what, *door.address)

    # 4. How it ends.

    def _hear_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: int) -> None:
        if self.leave.is_set():
            self.hurry.set()  # twice means now
        self.leave.set()

    def last_words(self) -> None:
        """After the loop: what waits to be told."""
        self.recorder.close(TELL_SECONDS)


async def serve(settings: Settings) -> None:
    """One process, start to end. Raises Unable."""
    process = Process(settings)
    try:
        await process.run()
    finally:
        await asyncio.to_thread(process.last_words)


def unable(fault: Unable) -> int:
    """Say why, and the exit status."""
    sys.stderr.write(f"sidewinder-sidecar: {fault}\n")
    return 1
