"""Children are kept running, told about, and end with all that they started: real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from sidewinder_operator.local import children
from sidewinder_operator.local.children import Child, Nursery, Program, Tone


class Told:
    """What was told, and waiting for it."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, Tone, str]] = []

    def __call__(self, who: str, tone: Tone, line: str) -> None:
        self.lines.append((who, tone, line))

    async def until(self, text: str, times: int = 1) -> str:
        for _ in range(1000):
            found = [line for _, _, line in self.lines if text in line]
            if len(found) >= times:
                return found[-1]
            await asyncio.sleep(0.01)
        raise AssertionError(f"{text!r} was not told {times} times: {self.lines}")


def program(code: str, **environment: str) -> Program:
    outer = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"}
    return Program(name="app", command=(sys.executable, "-c", code), environment={**outer, **environment})


def run(test: Callable[[Nursery, Told], Awaitable[None]], tmp_path: Path) -> None:
    async def main() -> None:
        nursery = Nursery(tmp_path / "run")
        await nursery.open()
        try:
            await test(nursery, Told())
        finally:
            await nursery.close()

    uvloop.run(asyncio.wait_for(main(), 30))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{pid}/stat").read_text().split(") ")[1].startswith("Z")


def members(group: int) -> list[int]:
    """The processes of a group that run; one that is dead and not yet collected by init is none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group, *_ = path.read_text().rpartition(") ")[2].split()
        except (OSError, ValueError):
            continue
        if int(its_group) == group and state not in "ZX":
            found.append(int(path.parent.name))
    return found


async def gone(pid: int) -> None:
    for _ in range(500):
        if not alive(pid):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{pid} lives on")


def test_output_is_told_line_by_line_with_its_name(tmp_path: Path) -> None:
    async def test(nursery: Nursery, told: Told) -> None:
        child = Child(program("print('one'); print('two', end=''); import time; time.sleep(60)"), nursery, told)
        child.start()
        await told.until("one")
        await child.stop(5)
        assert ("app", "output", "one") in told.lines
        assert ("app", "output", "two") in told.lines
        assert "stopped" in repr(child)

    run(test, tmp_path)


def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    async def test(nursery: Nursery, told: Told) -> None:
        child = Child(program("print('x' * 100000); print('end'); import time; time.sleep(60)"), nursery, told)
        child.start()
        await told.until("end")
        await child.stop(5)
        assert max(len(line) for _, _, line in told.lines) <= children.LONGEST_LINE

    run(test, tmp_path)


def test_a_crash_is_told_and_mended_with_growing_pauses(tmp_path: Path) -> None:
    async def test(nursery: Nursery, told: Told) -> None:
        changes: list[bool] = []
        child = Child(program("raise SystemExit(3)"), nursery, told, lambda child: changes.append(child.running))
        child.start()
        first = await told.until("ended with exit code 3")
        second = await told.until("ended with exit code 3", 2)
        await child.stop(5)
        assert "again in 0.2 s" in first
        assert "again in 0.4 s" in second
        assert changes[:3] == [True, False, True]

    run(test, tmp_path)


def test_a_kill_is_told_by_its_name(tmp_path: Path) -> None:
    async def test(nursery: Nursery, told: Told) -> None:
        child = Child(program("print('up'); import time; time.sleep(60)"), nursery, told)
        child.start()
        await told.until("up")
        pid = child.pid
        os.kill(pid, signal.SIGKILL)
        await told.until("was killed by SIGKILL")
        await told.until("up", 2)
        assert child.pid not in (0, pid)
        assert child.restarts == 1
        await child.stop(5)

    run(test, tmp_path)


@pytest.mark.parametrize(
    ("command", "folder", "why"),
    [
        (("no-such-program", "x"), ".", "there is no program no-such-program in"),
        (("sleep", "60"), "/nowhere/at/all", "its working directory /nowhere/at/all is not there"),
        ((str(Path(__file__)),), ".", "Permission denied"),
    ],
    ids=["no program", "no folder", "no right"],
)
def test_what_cannot_be_started_is_said_and_forgotten(
    tmp_path: Path, command: tuple[str, ...], folder: str, why: str
) -> None:
    async def test(nursery: Nursery, told: Told) -> None:
        kept: list[bytes] = []
        writing = os.write

        def write(descriptor: int, data: bytes) -> int:
            kept.append(data)
            return writing(descriptor, data)

        program = Program(name="app", command=command, environment={"PATH": os.environ["PATH"]}, folder=folder)
        child = Child(program, nursery, told)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "write", write)
            child.start()
            said = await told.until("cannot start")
        await child.stop(5)
        assert f"`{' '.join(command)}`" in said
        assert why in said
        assert all(line.startswith(b"-") for line in kept), "the warden is told that the group is gone"

    run(test, tmp_path)


def test_stopping_ends_grandchildren_and_those_that_do_not_listen(tmp_path: Path) -> None:
    code = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
inner = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
grandchild = subprocess.Popen([sys.executable, "-c", inner])
print("grandchild", grandchild.pid)
time.sleep(60)
"""

    async def test(nursery: Nursery, told: Told) -> None:
        child = Child(program(code), nursery, told)
        child.start()
        grandchild = int((await told.until("grandchild")).split()[1])
        pid = child.pid
        await child.stop(0.2)
        await told.until("did not end within 0.2 s")
        assert not alive(pid)
        await gone(grandchild)

    run(test, tmp_path)


def test_a_child_that_ends_takes_what_it_started_with_it(tmp_path: Path) -> None:
    code = """
import subprocess, sys
print("grandchild", subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid)
"""

    async def test(nursery: Nursery, told: Told) -> None:
        child = Child(program(code), nursery, told)
        child.start()
        grandchild = int((await told.until("grandchild")).split()[1])
        await gone(grandchild)
        await child.stop(5)

    run(test, tmp_path)


def test_stopping_while_it_waits_to_start_again(tmp_path: Path) -> None:
    async def test(nursery: Nursery, told: Told) -> None:
        child = Child(program("raise SystemExit(1)"), nursery, told)
        child.start()
        await told.until("starting it again")
        await asyncio.wait_for(child.stop(5), 3)
        assert child.pid == 0

    run(test, tmp_path)


UP = """
import asyncio, sys
from pathlib import Path
import pytest
import uvloop
from sidewinder_operator.local.children import Child, Nursery, Program

async def main():
    nursery = Nursery(Path(sys.argv[1]))
    await nursery.open()
    inner = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    code = inner + "import os, time; print('pid', os.getpid(), flush=True); time.sleep(60)"
    program = Program(name="app", command=(sys.executable, "-c", code), environment={})
    Child(program, nursery, lambda who, tone, line: print(line, flush=True)).start()
    await asyncio.sleep(60)

uvloop.run(main())
"""


def test_nothing_is_left_when_the_parent_is_killed_without_warning(tmp_path: Path) -> None:
    async def test(nursery: Nursery, told: Told) -> None:
        folder = tmp_path / "sockets"
        folder.mkdir()
        (folder / "x.sock").touch()
        parent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", UP, str(folder), stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
        )
        assert parent.stdout is not None
        pid = int((await asyncio.wait_for(parent.stdout.readline(), 10)).split()[1])
        group = os.getpgid(pid)
        parent.kill()
        await parent.wait()
        await gone(pid)
        for _ in range(500):
            if not folder.exists():
                break
            await asyncio.sleep(0.01)
        assert not folder.exists(), "the folder with the sockets is left"
        assert members(group) == []
        await asyncio.wait_for(parent.stdout.read(), 10)  # its end: a loop is not closed over an open pipe

    run(test, tmp_path)
