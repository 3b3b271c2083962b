"""Freed memory goes back to the system; in processes of their own, since the allocator is one for all."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from sidewinder_operator.main import memory
from sidewinder_operator.main.memory import Trimmer
from tests.support.clock import eventually

FREED = """
import ctypes
from sidewinder_operator.main import memory
memory.tune()
def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
held = [libc.malloc(100_000) for _ in range(400)]
for each in held:
    ctypes.memset(each, 1, 100_000)
pin = libc.malloc(100_000)  # the heap cannot shrink beneath it
for each in held:
    libc.free(each)
before = resident()
memory.trim()
print(before - resident())
"""
# Mapped by itself, a block that is not used takes no memory; in the heap it lies on pages that others have used.
BUFFERS = """
import ctypes
from sidewinder_operator.main import memory
TUNE
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.free(libc.malloc(256 << 10))  # with it, a threshold that is not set goes up
made = [libc.malloc(256 << 10) for _ in range(20)]
with open("/proc/self/maps") as file:
    low, high = next(line for line in file if "[heap]" in line).split()[0].split("-")
print(sum(int(low, 16) <= each < int(high, 16) for each in made))
"""


def told(program: str) -> int:
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return int(answer.stdout)


def test_what_is_freed_is_given_back() -> None:
    assert told(FREED) > 30_000, "kB of forty thousand"


def test_large_buffers_are_not_in_the_heap() -> None:
    assert told(BUFFERS.replace("TUNE", "memory.tune()")) == 0
    assert told(BUFFERS.replace("TUNE", "")) == 20, "else nothing needs to be set"


def test_it_trims_when_something_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    monkeypatch.setattr(memory, "trim", lambda: called.append(1))

    async def run() -> None:
        counts = iter([0, 3, 3, 4])
        trimmer = Trimmer(lambda: next(counts))
        for _ in range(4):
            await trimmer.look()
        assert trimmer.trimmed == len(called) == 2

    asyncio.run(run())


def test_it_looks_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LOOK_SECONDS", 0.0)

    async def run() -> None:
        looks = 0

        def done() -> int:
            nonlocal looks
            looks += 1
            return 0

        running = asyncio.create_task(Trimmer(done).run())
        await eventually(lambda: looks >= 3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert running.cancelled()

    asyncio.run(run())


def test_the_collector_looks_at_nothing_that_was_there_from_the_start() -> None:
    program = "import gc; from sidewinder_operator.main import memory; memory.freeze(); print(len(gc.get_objects()))"
    assert told(program) < 100


def test_nothing_is_loaded_to_log_in_with() -> None:
    program = (
        "import sys; from sidewinder_operator.main import memory; memory.tune()\n"
        "import sidewinder_operator.main.process\n"
        "print(sum(name.split('.')[0] in memory.UNUSED and found is not None for name, found in sys.modules.items()))"
    )
    assert told(program) == 0
