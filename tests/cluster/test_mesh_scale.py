"""A thousand Services and two thousand sidecars: a change reaches everybody that it concerns, within memory and time.

Sidecars are real discovery clients over mTLS without a proxy, and all come at once; the operator is its own process
(`benchmarks/scale`). Figures stand in benchmarks/README.md; the times asserted here hold on a busy machine, too.
"""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path

import pytest

from benchmarks.scale import bench
from benchmarks.scale.world import Size
from tests.cluster.bed import bed as testbed

MEMORY_MB = 300
SECONDS = 10.0  # the goal is one; eight processes share this machine's cores with the test


@pytest.mark.cluster
@pytest.mark.skipif(os.environ.get("CLUSTER", "bed") != "bed", reason="a bed of its own: its controllers are stopped")
def test_a_change_reaches_two_thousand_sidecars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    size = Size()
    bed = testbed.start(nodes=1, owner=True)
    try:
        found = asyncio.run(bench.run(bed, tmp_path, size, wants=5, rounds=5, at_once=size.pods))
    finally:
        bed.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    with capsys.disabled():
        print("", *found.lines(), sep="\n")
    assert found.memory < MEMORY_MB
    assert [each.what for each in found.changes] == ["a route", "an endpoint", "a policy for the mesh"]
    assert all(max(each.last) < SECONDS for each in found.changes)
