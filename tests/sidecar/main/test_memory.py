import asyncio
import gc
import subprocess
import sys

import pytest

from sidewinder_sidecar.main import memory
from sidewinder_sidecar.main.memory import GONE, Trimmer

CASES = {
    "nobody": ([0, 0, 0], 0),
    "a few come and go": ([10, 0, 10, 0], 0),
    "a crowd that stays": ([2000, 2000, 1900], 0),
    "a crowd that leaves": ([2000, 100], 1),
    "a crowd that leaves slowly": ([2000, 1500, 1000, 600, 500, 400], 1),
    "not enough to matter": ([GONE - 1, 0], 0),
    "twice": ([1000, 0, 1000, 0], 2),
    "and once more when the pools are empty": ([1000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 2),
}


@pytest.mark.parametrize(("counts", "trims"), CASES.values(), ids=CASES)
def test_memory_is_given_back_when_a_crowd_has_left(counts, trims, monkeypatch):
    called = []
    monkeypatch.setattr(memory, "trim", lambda: called.append(1))

    async def run():
        left = iter(counts)
        trimmer = Trimmer(lambda: next(left), 4.0)
        for _ in counts:
            trimmer.tick()
        await asyncio.get_running_loop().shutdown_default_executor()
        return trimmer.trimmed

    assert asyncio.run(run()) == len(called) == trims


def test_trimming_for_real():
    memory.trim()


def test_what_the_process_uses():
    assert memory.resident() > 1 << 20
    assert memory.descriptors() > 2


def test_the_collector_looks_seldom():
    program = "from sidewinder_sidecar.main import memory; memory.tune(); import gc; print(gc.get_threshold())"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert told.stdout.strip() == str(memory.THRESHOLDS)
    assert gc.get_threshold() != memory.THRESHOLDS
