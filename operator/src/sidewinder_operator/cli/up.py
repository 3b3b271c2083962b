"""`sidewinder up`: the whole line on one machine. Files → Cluster → Mesh → snapshots → sidecars, real processes in
between.

One event loop, no threads. `Up` wires the parts together and tells what happens; each part does its own work:
`Manifests` reads, `Reconciler` turns, `Replicas` runs processes, `Discovery` carries configuration, `Acks` knows who
has it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import tempfile
from pathlib import Path

import msgspec
import uvloop
from aiohttp import web

from sidewinder_operator.authority.local import Authority
from sidewinder_operator.cli import status
from sidewinder_operator.cli.console import Voice, sentence, summary
from sidewinder_operator.cli.local_rotation import Rotation
from sidewinder_operator.cli.sockets import Sockets
from sidewinder_operator.cli.validate import remains
from sidewinder_operator.compile import keys, last_good
from sidewinder_operator.compile.compiler import Options, Running
from sidewinder_operator.compile.last_good import LastGood
from sidewinder_operator.discovery.acks import Acks
from sidewinder_operator.discovery.departures import Departures
from sidewinder_operator.discovery.drains import Drains
from sidewinder_operator.discovery.server import Discovery
from sidewinder_operator.discovery.session import Session
from sidewinder_operator.discovery.store import Store
from sidewinder_operator.issuers import shelf
from sidewinder_operator.issuers.fetch import Fetcher
from sidewinder_operator.issuers.keeper import Keeper, named
from sidewinder_operator.local import kept
from sidewinder_operator.local.changes import changes
from sidewinder_operator.local.children import Child, Nursery
from sidewinder_operator.local.files import Manifests
from sidewinder_operator.local.ports import Ports, why_taken
from sidewinder_operator.local.readiness import until_ready
from sidewinder_operator.local.replicas import Replicas, Surroundings, Wanted
from sidewinder_operator.local.sidecars import Sidecar, Telling, unusable
from sidewinder_operator.mesh.workloads import Replica, WayIn
from sidewinder_operator.problems import Problem
from sidewinder_operator.reconcile import Collected, Reconciler, Round

GOOD = "last-good.jsonl"  # in the state folder
KEYS = "keys.json"  # of issuers, the same
DEBOUNCE = 0.02  # seconds: files have already kept still, and processes start one by one
SETTLE_SECONDS = 2.0  # what a removal waits for everybody to have heard of it
PATIENCE_SECONDS = 8.0  # after which the start is told as it is: a few seconds are normal on a slow machine
ADDRESS = "127.0.0.1"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The command's options."""

    paths: tuple[Path, ...]
    state: Path
    port: int = 8080
    otlp: str = ""
    trace_percent: float = 100.0
    access_log: bool = False
    certificate_seconds: int = 86_400  # as in a cluster


class Cannot(Exception):
    """`up` cannot start; says why and what would be right."""


def run(asked: Asked, voice: Voice) -> int:
    """Runs until it is told to end; returns the exit code."""
    if why := why_taken(ADDRESS, asked.port):
        voice.warn(f"cannot be the way in: {why}. Choose another port with --port, or 0 for any free one.")
        return 1
    if status.runs(asked.state):
        voice.warn(f"another `sidewinder up` keeps its state in {asked.state}; give this one a folder with --state.")
        return 1
    if mistakes := unusable(_telling(asked)):
        for mistake in mistakes:
            voice.warn(mistake)
        voice.warn("the sidecars cannot use these settings: mend them and start again.")
        return 1
    with tempfile.TemporaryDirectory(prefix="sidewinder-", ignore_cleanup_errors=True) as folder:
        try:
            return uvloop.run(Up(asked, voice, Path(folder)).run())
        except Cannot as why:
            voice.warn(str(why))
            return 1


def _telling(asked: Asked) -> Telling:
    return Telling(otlp_endpoint=asked.otlp, access_log=asked.access_log)


def _remembered(state: Path) -> LastGood:
    try:
        return last_good.load(kept.read(state / GOOD))
    except OSError as fault:
        raise _no_state(state, fault) from None


def _issued(state: Path) -> dict[str, shelf.Kept]:
    """Issuers' keys as they were last good."""
    try:
        return shelf.read(kept.read(state / KEYS))
    except OSError as fault:
        raise _no_state(state, fault) from None


def _no_state(state: Path, fault: OSError) -> Cannot:
    return Cannot(f"cannot keep state in {state}: {fault}. Name another folder with --state.")


class Up:
    """Everything that runs. `folder` holds the sockets and is its owner's alone."""

    def __init__(self, asked: Asked, voice: Voice, folder: Path) -> None:
        self.asked = asked
        self.voice = voice
        self._folder = folder
        self._stop = asyncio.Event()
        # what users wrote, and where it leads
        self.manifests = Manifests(asked.paths)
        self._loaded = self.manifests.load()
        self.options = Options(trace_percent=asked.trace_percent)
        self.issuers = Keeper(Fetcher(loopback=True), self._on_keys, known=_issued(asked.state))
        self.store = Store()
        self.acks = Acks(self.store)
        self.reconciler = Reconciler(
            self.store,
            self._collect,
            self._report,
            last_good=_remembered(asked.state),
            options=self.options,
            debounce=DEBOUNCE,
        )
        self.acks.care(self.reconciler.ring)
        self.round: Round | None = None
        self.problems: tuple[Problem, ...] = ()
        self._written = b""
        self._folders: dict[tuple[str, str], Path] = {}
        # what runs
        self.authority = Authority(self.options.cluster_domain, dt.timedelta(seconds=asked.certificate_seconds))
        self.ports = Ports(ADDRESS)
        self._nursery = Nursery(folder)
        self.sockets = Sockets(folder)
        self.drains = Drains(lambda workload: workload.removeprefix("LocalProcess/"), say=self._on_drained)
        self.discovery = Discovery(
            self.store,
            self.acks,
            self.sockets.name,
            departures=Departures(self.store, self.acks, held=self.drains.hold),
            rejected=self._on_rejection,
            doubted=self._on_doubt,
            drained=self.drains.tell,
        )
        self._telling = _telling(asked)
        self.replicas = Replicas(self._surroundings())
        self.rotation = Rotation(self.authority, self.acks, self.store, self.voice.say)
        self.way_in = WayIn(port=asked.port or self.ports.reserve(), address=ADDRESS)
        self.door: Sidecar | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            nursery=self._nursery,
            ports=self.ports,
            tell=self.voice.tell,
            telling=self._telling,
            changed=self.reconciler.ring,
            settled=self._settled,
            open_socket=self.sockets.open,
            close_socket=self.sockets.close,
            identify=self._identify,
            forget=self.authority.forget,
        )

    async def run(self) -> int:
        """From the first look at the files to the last process."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)
        runner = self.discovery.runner()
        await runner.setup()
        self.sockets.serve(runner)
        await self._nursery.open()
        asking: web.AppRunner | None = None
        try:
            asking = await self._answer()
            self._begin()
            await self._stop.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            await self._end(runner, asking)
        return 0

    async def _answer(self) -> web.AppRunner:
        try:
            return await status.serve(self, self.asked.state, self._folder / "up.sock")
        except OSError as fault:
            raise _no_state(self.asked.state, fault) from None

    def _identify(self, replica: Replica, socket: Path) -> Path:
        """Who its sidecar is, it need not prove: it was started here."""
        folder = socket.with_suffix(".identity")
        return self.authority.issue(folder, replica.namespace, replica.service_account, replica.uid)

    def rotate_root(self) -> None:
        """Somebody asks for another root."""
        self._spawn(self.rotation.run())

    def _begin(self) -> None:
        socket = self.sockets.open(self.way_in.id)
        self.door = Sidecar(
            self.way_in.name,
            socket,
            self.authority.issue(socket.with_suffix(".identity"), self.options.system_namespace, self.way_in.name),
            self._nursery,
            self.ports,
            self.voice.tell,
            self._telling,
            lambda child: None,
        )
        done = self.reconciler.once()
        if not done.compiled.cluster.processes and not done.compiled.cluster.services:
            self.voice.warn("nothing to run yet: these manifests have no Service and no LocalProcess")
        self.door.child.start()
        for work in (self.reconciler.run(), self._watch(), self._welcome(), self.authority.run(), self.issuers.run()):
            self._spawn(work)

    async def _end(self, runner: web.AppRunner, asking: web.AppRunner | None) -> None:
        """The way in first, so that nobody new comes; then the rest; then what served them."""
        if self.door is not None:
            self.voice.say("stopping: finishing what runs (once more Ctrl-C ends at once)")
            await self.door.stop()
        await self.replicas.stop()
        self.discovery.close()
        await self.sockets.close_all()
        await runner.cleanup()
        if asking is not None:
            await asking.cleanup()
            status.forget(self.asked.state)
        await self._nursery.close()
        self.ports.close()
        if self.door is not None:
            self.voice.say("stopped: no process is left")

    def _on_signal(self, number: int) -> None:
        if self._stop.is_set():
            os._exit(128 + number)  # the warden sees it and ends what is left
        self._stop.set()

    def _spawn(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._stop.set()
            raise fault

    # ── files to sidecars ─────────────────────────────────────────────────────────────────────────────────────────

    def _collect(self) -> Collected:
        """The files as they last kept still, and the processes as they are."""
        cluster, problems = self._loaded
        cluster = msgspec.structs.replace(cluster, keys=self.issuers.fetched())
        running = Running(replicas=self.replicas.running(), ways_in=(self.way_in,), verdicts=self.acks.health())
        wrecks = remains(self.manifests)
        return Collected(cluster=cluster, problems=tuple(problems), wrecks=wrecks, running=running)

    def _report(self, done: Round) -> None:
        """A turn of the loop: runs what is asked for, remembers what is good, tells what is new."""
        self.round = done
        self.issuers.want(keys.wanted(done.compiled.cluster))
        self.voice.expect(f"{name} sidecar" for _, name in done.compiled.cluster.processes)
        self.replicas.want({key: Wanted(p, self._home(key)) for key, p in done.compiled.cluster.processes.items()})
        written = last_good.dump(done.compiled.last_good)
        if written != self._written:
            self._written = written
            try:
                kept.write(self.asked.state / GOOD, written)
            except OSError as fault:
                self.voice.warn(f"cannot keep what is good for the next start: {fault}")
        self._tell(tuple(self.manifests.placed(done.problems)), done)

    def _on_doubt(self, resources: tuple[str, ...]) -> None:
        self.issuers.doubt(named(resources))

    def _on_keys(self) -> None:
        """An issuer has others, or is away."""
        self.reconciler.ring()
        try:
            kept.write(self.asked.state / KEYS, shelf.lines(self.issuers.kept()))
        except OSError as fault:
            self.voice.warn(f"cannot keep issuers' keys for the next start: {fault}")

    def _tell(self, problems: tuple[Problem, ...], done: Round) -> None:
        known = {sentence(problem) for problem in self.problems}
        new = [problem for problem in problems if sentence(problem) not in known]
        self.voice.problems(new)
        if new and done.compiled.stale:
            self.voice.warn(f"last good version serves on: {', '.join(map(str, sorted(done.compiled.stale)))}")
        if self.problems and not problems:
            self.voice.say("no problems any more")
        elif new:
            self.voice.warn(summary(problems))
        self.problems = problems

    def _home(self, key: tuple[str, str]) -> Path:
        """The folder of the manifest that a LocalProcess is from; remembered while the manifest cannot be read."""
        for manifest in self.manifests.paths:
            self._folders.setdefault(key, manifest if manifest.is_dir() else manifest.parent)
        assert self.round is not None
        place = self.manifests.place(self.round.compiled.cluster.processes[key].reference)
        if place is not None:
            self._folders[key] = Path(place.file).parent
        return self._folders[key].resolve()

    async def _watch(self) -> None:
        async for _ in changes(self.manifests.paths):
            began = asyncio.get_running_loop().time()
            self._loaded = self.manifests.load()
            done = self.reconciler.once()
            if done.changed:
                self._spawn(self._told(began))

    async def _told(self, began: float) -> None:
        """Says when a change is live everywhere."""
        current = await self.acks.all_current(SETTLE_SECONDS)
        took = asyncio.get_running_loop().time() - began
        behind, everybody = self.acks.behind(), len(self.store.pictures)
        if current:
            self.voice.say(f"live in all {everybody} sidecars after {took * 1000:.0f} ms")
        else:
            self.voice.warn(f"live in {everybody - len(behind)} of {everybody} sidecars; missing: {', '.join(behind)}")

    async def _settled(self) -> None:
        """Everybody has heard of what changed just now: after the next turn, which publishes it, not before."""
        turns = self.reconciler.rounds
        await self.acks.until(lambda: self.reconciler.rounds > turns and self.acks.answered(), SETTLE_SECONDS)

    def _on_rejection(self, workload: str, session: Session) -> None:
        for name, rejection in session.rejections.items():
            where = f"{rejection.resource or name}{': ' if rejection.field else ''}{rejection.field}"
            self.voice.warn(f"{workload} refuses {where}: {rejection.why}; what it had serves on")

    def _on_drained(self, who: str, how: str, bad: bool) -> None:
        self.voice.tell(f"{who} sidecar", "warning" if bad else "event", how)

    # ── people ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _welcome(self) -> None:
        """Says where to knock once everybody is at home, or who is not."""
        assert self.door is not None
        await until_ready(self.door.check)
        if not await self.acks.until(self._complete, PATIENCE_SECONDS):
            waiting = [member.name for member in self.replicas.members if not member.replica.ready]
            self.voice.warn(f"not ready yet: {', '.join(waiting) or ', '.join(self.acks.behind())}")
            self._doors()
            await self.acks.until(self._complete, None)
        self.voice.say(f"ready: {len(self.replicas.members)} replicas, {len(self.store.pictures)} sidecars")
        self._doors()
        self.voice.say(f"edit {', '.join(map(str, self.asked.paths))}: a change is live at once; Ctrl-C ends it")

    def _complete(self) -> bool:
        """All answer, and everybody knows it: what became ready just now may still be on its way into the pictures."""
        return self.replicas.all_ready() and not self.reconciler.due and not self.acks.behind()

    def _doors(self) -> None:
        assert self.round is not None
        for namespace, name in self.round.compiled.cluster.services:
            self.voice.say(f"  http://{name}.{namespace}.{self.way_in.domain}:{self.way_in.port}/")

    @property
    def children(self) -> list[Child]:
        """Every process that is kept running."""
        doors = [self.door.child] if self.door is not None else []
        return doors + [
            child for member in self.replicas.members for child in (member.sidecar.child, member.application)
        ]
