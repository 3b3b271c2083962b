"""Processes that are kept running: started, listened to, restarted with backoff, and ended with all that they started.

Used by `sidecars` and `replicas`. Every child leads a process group of its own, so that what it starts ends with it.
The `warden` learns each group from the child itself, before the child's program runs: no group is ever unknown to it.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from sidewinder_operator.local import warden

Tone: TypeAlias = Literal["output", "event", "warning"]
Tell: TypeAlias = Callable[[str, Tone, str], None]  # who, how it is meant, one line

FIRST_BACKOFF = 0.2  # seconds: a crash by accident is mended before anybody looks
LONGEST_BACKOFF = 10.0
CALM_SECONDS = 10.0  # one that ran this long starts again with the first backoff
LONGEST_LINE = 16384  # bytes of output shown as one line


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. `name` is what people see before its lines."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str = "."


class Nursery:
    """Starts children and knows their groups. One per `sidewinder up`; `folder` is removed with the last of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pipe = -1
        self._warden: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        """Starts the warden."""
        reading, self._pipe = os.pipe()  # both ends close on exec
        command = (sys.executable, "-I", "-S", warden.__file__, str(self._folder))
        try:
            self._warden = await asyncio.create_subprocess_exec(*command, stdin=reading, start_new_session=True)
        finally:
            os.close(reading)

    async def close(self) -> None:
        """Lets the warden see that we are gone, and waits until it is."""
        if self._warden is not None:
            os.close(self._pipe)
            await self._warden.wait()
            self._warden = None

    async def start(self, program: Program) -> asyncio.subprocess.Process:
        """Starts a program in a group of its own. Raises OSError when it cannot run."""
        pipe, back = self._pipe, os.pipe()

        def register() -> None:
            """Between fork and exec; safe, since `up` has one thread."""
            os.write(pipe, b"+%d\n" % os.getpid())
            os.write(back[1], b"%d" % os.getpid())

        try:
            return await asyncio.create_subprocess_exec(
                *program.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(program.environment),
                cwd=program.folder,
                start_new_session=True,
                preexec_fn=register,
            )
        except OSError:
            os.set_blocking(back[0], False)
            self._unregister(back[0])
            raise
        finally:
            for end in back:
                os.close(end)

    def _unregister(self, back: int) -> None:
        """A child that got as far as to tell its group and no further."""
        try:
            self.forget(int(os.read(back, 32)))
        except (BlockingIOError, ValueError):
            pass  # not even that far

    def forget(self, group: int) -> None:
        """Nothing of that group is left."""
        os.write(self._pipe, b"-%d\n" % group)


class Child:
    """One program that is kept running until `stop`. `changed` is called when it starts and when it ends."""

    def __init__(
        self, program: Program, nursery: Nursery, tell: Tell, changed: Callable[[Child], None] = lambda child: None
    ) -> None:
        self.program = program
        self.restarts = 0
        self.running = False
        self._nursery = nursery
        self._tell = tell
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = f"pid {self.pid}" if self.running else "stopped" if self._stop.is_set() else "not running"
        return f"<Child {self.program.name}: {state}, {self.restarts} restarts>"

    @property
    def pid(self) -> int:
        """The process's id, 0 when there is none."""
        return self._process.pid if self._process is not None and self.running else 0

    def start(self) -> None:
        """Keeps it running from now on."""
        self._task = asyncio.create_task(self._keep(), name=f"child {self.program.name}")

    def signal(self, number: int) -> None:
        """Sends a signal to the whole group, if it runs."""
        if self.pid:
            warden.signalled((self.pid,), number)

    async def stop(self, grace: float) -> None:
        """SIGTERM, up to `grace` seconds, SIGKILL; returns when nothing is left."""
        self._stop.set()
        if self._task is None:
            return
        self.signal(signal.SIGTERM)
        done, _ = await asyncio.wait((self._task,), timeout=grace)
        if not done:
            self._tell(self.program.name, "warning", f"did not end within {grace:g} s of SIGTERM: killed")
            self.signal(signal.SIGKILL)
            await asyncio.wait((self._task,))

    async def _keep(self) -> None:
        backoff = FIRST_BACKOFF
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            began = loop.time()
            how = await self._once()
            if self._stop.is_set():
                return
            if loop.time() - began >= CALM_SECONDS:
                backoff = FIRST_BACKOFF
            self.restarts += 1
            self._tell(self.program.name, "warning", f"{how}; starting it again in {backoff:.1f} s")
            try:
                await asyncio.wait_for(self._stop.wait(), backoff * random.uniform(0.8, 1.2))
            except TimeoutError:
                pass
            backoff = min(LONGEST_BACKOFF, backoff * 2)

    async def _once(self) -> str:
        """Runs it once, to its end; says how it ended."""
        try:
            process = self._process = await self._nursery.start(self.program)
        except OSError as fault:
            return f"cannot start `{' '.join(self.program.command)}`: {_why(self.program, fault)}"
        self.running = True
        self._changed(self)
        output = asyncio.create_task(self._listen(process), name=f"output of {self.program.name}")
        if self._stop.is_set():  # stopped while it was being started
            self.signal(signal.SIGTERM)
        try:
            code = await process.wait()
        finally:
            self.running = False
            warden.signalled((process.pid,), signal.SIGKILL)  # what it started and left behind
            self._nursery.forget(process.pid)
        await asyncio.wait((output,), timeout=1.0)
        output.cancel()
        self._changed(self)
        return f"was killed by {_signal(-code)}" if code < 0 else f"ended with exit code {code}"

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Tells every line of output; a line without end is cut."""
        assert process.stdout is not None
        rest = b""
        while chunk := await process.stdout.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE:
                lines.append(rest)
                rest = b""
            for line in lines:
                self._line(line)
        if rest:
            self._line(rest)

    def _line(self, line: bytes) -> None:
        self._tell(self.program.name, "output", line[:LONGEST_LINE].decode("utf-8", "replace").rstrip("\r"))


def _why(program: Program, fault: OSError) -> str:
    """What would be right, as far as one can see from outside."""
    if not Path(program.folder).is_dir():
        return f"its working directory {program.folder} is not there"
    path = program.environment.get("PATH", os.defpath)
    if isinstance(fault, FileNotFoundError) and shutil.which(program.command[0], path=path) is None:
        return f"there is no program {program.command[0]} in {program.folder} or in PATH"
    return fault.strerror or str(fault)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
