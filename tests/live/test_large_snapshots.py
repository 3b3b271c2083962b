"""A new snapshot of 10 000 routes never holds the loop for long: the CPU clock of its thread, over a real stream.

`make bench-routes` measures more of them and asks it of every one; here the middle of three counts, since other work on
the machine only ever adds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
HELD_MS = 10.0  # at a time


def test_ten_thousand_new_routes_do_not_hold_the_loop() -> None:
    kinds = ["every route", "everything"]
    done = subprocess.run(
        [sys.executable, "benchmarks/routes.py", "held", "3", *kinds],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([".", *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    held = json.loads(done.stdout.splitlines()[-1])
    for kind in kinds:
        cpu = [milliseconds for milliseconds, _ in held[kind]]
        assert len(cpu) == 3
        assert min(cpu) > 0.5, "something was applied"
        assert statistics.median(cpu) <= HELD_MS, (kind, held)
