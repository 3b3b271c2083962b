"""The applications that manifests ask for, each replica with its sidecar: started, watched, replaced and ended.

The command line gives `Replicas` what should run (`want`) and asks what does (`running`). A replica's life: ports,
socket, sidecar up, application up, ready; later out of everybody's endpoints, sidecar drained, application ended,
ports free. A changed LocalProcess gets new replicas first and loses the old ones when those are ready: make before
break.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec

from sidewinder_operator.local.children import Child, Nursery, Program, Tell
from sidewinder_operator.local.ports import Ports
from sidewinder_operator.local.readiness import Check, until_ready
from sidewinder_operator.local.sidecars import Sidecar, Telling
from sidewinder_operator.mesh.workloads import Replica
from sidewinder_operator.resources.quantity import seconds
from sidewinder_operator.resources.workload import LocalProcess, LocalProcessSpec

Key: TypeAlias = tuple[str, str]

APPLICATION_GRACE = 5.0  # seconds from SIGTERM to SIGKILL
SLOW_SECONDS = 5.0  # after which a person is told what is being waited for
NO_PROXY = "localhost,.localhost,127.0.0.1,::1,[::1]"


class Wanted(msgspec.Struct, frozen=True):
    """A LocalProcess and the folder that its working directory is relative to."""

    process: LocalProcess
    folder: Path


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What every replica needs of its `up`. `open_socket` and `close_socket`: discovery for one workload's id."""

    nursery: Nursery
    ports: Ports
    tell: Tell
    telling: Telling
    changed: Callable[[], None]  # what runs, or is ready, is not what it was
    settled: Callable[[], Awaitable[None]]  # everybody has heard of the last change, or had time to
    open_socket: Callable[[str], Path]
    close_socket: Callable[[str], Awaitable[None]]
    identify: Callable[[Replica, Path], Path]  # a certificate for its sidecar, which has this socket: the folder of it
    forget: Callable[[Path], None]  # nobody has that certificate any more


class Running:
    """One replica and its two processes."""

    def __init__(self, wanted: Wanted, replica: Replica, several: bool, around: Surroundings) -> None:
        self.wanted = wanted
        self.replica = replica
        self._around = around
        self.name = f"{replica.name}-{replica.index}" if several or replica.index else replica.name
        self._ready: asyncio.Task[None] | None = None
        self.leaving = False
        self._sidecar_up = asyncio.Event()
        socket = around.open_socket(replica.id)
        self._identity = around.identify(replica, socket)
        self.sidecar = Sidecar(
            self.name,
            socket,
            self._identity,
            around.nursery,
            around.ports,
            around.tell,
            around.telling,
            self._on_change,
        )
        self.application = Child(self._program(), around.nursery, around.tell, self._on_change)

    def __repr__(self) -> str:
        return f"<Running {self.replica.id}: {'ready' if self.replica.ready else 'not ready'}>"

    @property
    def spec(self) -> LocalProcessSpec:
        """What was asked for when it was started."""
        return self.wanted.process.spec

    async def start(self) -> None:
        """The sidecar first: an application may call others as soon as it runs."""
        self.sidecar.child.start()
        await self._sidecar_up.wait()
        if not self.leaving:
            self._around.ports.lend(self.replica.application)
            self.application.start()

    async def stop(self) -> None:
        """Sidecar first, which finishes what runs; then the application; then nothing of it is left."""
        self.leaving = True
        self._sidecar_up.set()
        if self._ready is not None:
            self._ready.cancel()
        await self.sidecar.stop()
        await self.application.stop(APPLICATION_GRACE)
        await self._around.close_socket(self.replica.id)
        self._around.forget(self._identity)
        self._around.ports.release(self.replica.inbound, self.replica.application, self.replica.outbound)

    def check(self) -> Check:
        """When the application is ready, as its manifest says."""
        asked, http = self.spec.readiness, self.spec.readiness.http
        return Check(
            port=self.replica.application,
            path=http.path if http is not None else "",
            statuses=http.expected_statuses if http is not None else (),
            interval=seconds(asked.interval),
            timeout=seconds(asked.timeout),
        )

    def _program(self) -> Program:
        port = str(self.replica.application)
        proxy = f"http://{self.replica.address}:{self.replica.outbound}"
        outer = {name: value for name, value in os.environ.items() if not name.startswith("SIDEWINDER_")}
        return Program(
            name=self.name,
            command=tuple(part.replace("{port}", port) for part in self.spec.command),
            environment={
                **outer,
                "HTTP_PROXY": proxy,
                "http_proxy": proxy,
                "NO_PROXY": NO_PROXY,
                "no_proxy": NO_PROXY,
                "PYTHONUNBUFFERED": "1",  # what a Python application prints is seen when it prints it
                **{variable.name: variable.value.replace("{port}", port) for variable in self.spec.env},
                "PORT": port,
            },
            folder=str(self.wanted.folder / self.spec.working_directory),
        )

    def _on_change(self, _: Child) -> None:
        """A process started or ended: ready again only when both answer."""
        if self.leaving:
            return
        self._set_ready(False)
        if self._ready is not None:
            self._ready.cancel()
        self._ready = asyncio.create_task(self._watch(), name=f"readiness of {self.name}")

    async def _watch(self) -> None:
        if self.sidecar.child.running:
            await self._patiently(self.sidecar.check, "its sidecar")
            self._sidecar_up.set()
            if self.application.running:
                await self._patiently(self.check(), "it")
                self._set_ready(True)

    async def _patiently(self, check: Check, who: str) -> None:
        waiting = asyncio.create_task(until_ready(check))
        try:
            done, _ = await asyncio.wait((waiting,), timeout=SLOW_SECONDS)
            if not done:
                self._around.tell(self.name, "warning", f"{who} is not ready yet: waiting for {check}")
            await waiting
        finally:
            waiting.cancel()

    def _set_ready(self, ready: bool) -> None:
        if self.replica.ready != ready:
            self.replica = msgspec.structs.replace(self.replica, ready=ready)
            self._around.changed()


class Replicas:
    """All of them. `want` may be called at any time; what it leads to happens by and by."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._wanted: Mapping[Key, Wanted] = {}
        self._members: dict[str, Running] = {}
        self._leaving: dict[str, Running] = {}  # nobody takes their names before they are gone
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def members(self) -> tuple[Running, ...]:
        """Those that are not on their way out, by id."""
        return tuple(self._members[id_] for id_ in sorted(self._members))

    def running(self) -> tuple[Replica, ...]:
        """What compile is told."""
        return tuple(member.replica for member in self.members)

    def all_ready(self) -> bool:
        """Every replica that is wanted answers."""
        return all(member.replica.ready for member in self.members)

    def want(self, processes: Mapping[Key, Wanted]) -> None:
        """What should run from now on."""
        self._wanted = processes
        self.adjust()

    def adjust(self) -> None:
        """Starts what is missing; ends what is too much, once what replaces it is ready. Called after each change."""
        for key, wanted in self._wanted.items():
            asked = wanted.process.spec
            mine = [member for member in self.members if _key(member) == key]
            current = [member for member in mine if _alike(member.spec, asked)]
            current += [self._start(wanted, key) for _ in range(asked.replicas - len(current))]
            for surplus in current[asked.replicas :]:
                self._remove(surplus)
            if all(member.replica.ready for member in current):
                for outdated in mine:
                    if not _alike(outdated.spec, asked):
                        self._remove(outdated)
        for member in self.members:
            if _key(member) not in self._wanted:
                self._remove(member)

    async def stop(self) -> None:
        """Ends all of them at once."""
        self._wanted = {}
        members, self._members = self.members, {}
        await asyncio.gather(*(member.stop() for member in members), *self._tasks)

    def _start(self, wanted: Wanted, key: Key) -> Running:
        here = (*self._members.values(), *self._leaving.values())
        taken = {member.replica.index for member in here if _key(member) == key}
        index = next(number for number in range(len(taken) + 1) if number not in taken)
        ports = self._around.ports
        replica = Replica(
            namespace=key[0],
            name=key[1],
            index=index,
            uid=secrets.token_hex(8),
            service_account=wanted.process.spec.service_account,
            inbound=ports.reserve(),
            application=ports.reserve(),
            outbound=ports.reserve(),
            ready=False,
        )
        several = wanted.process.spec.replicas > 1
        member = self._members[replica.id] = Running(wanted, replica, several, self._around)
        self._later(member.start())
        self._around.changed()
        return member

    def _remove(self, member: Running) -> None:
        if self._members.pop(member.replica.id, None) is not None:
            self._leaving[member.replica.id] = member
            self._later(self._leave(member))
            self._around.changed()

    async def _leave(self, member: Running) -> None:
        await self._around.settled()
        await member.stop()
        del self._leaving[member.replica.id]
        self._around.tell(member.name, "event", "ended: it is not asked for any more")

    def _later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _alike(one: LocalProcessSpec, other: LocalProcessSpec) -> bool:
    """Whether their replicas are the same, however many there are."""
    return msgspec.structs.replace(one, replicas=0) == msgspec.structs.replace(other, replicas=0)


def _key(member: Running) -> Key:
    return member.replica.namespace, member.replica.name
