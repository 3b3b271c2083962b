"""A bed leaves nothing behind: not after `down`, not when its owner is killed, not when nobody is left to clear up.

Also here, because they need a bed of their own: several beds side by side, and a component that dies by itself.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.bed import archives, nodes, traces
from tests.cluster.bed import bed as testbed
from tests.cluster.bed.bed import Bed
from tests.cluster.bed.layout import ROOT, Layout
from tests.cluster.bed.probes import Probes, pod
from tests.cluster.bed.waiting import BedError, run, until

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("bed_possible")]

# Run by the killed owner: makes a bed, tells each step, and waits for its end.
OWNER = """
import sys, time
from pathlib import Path
from tests.cluster.bed import bed
bed.start(nodes=int(sys.argv[2]), owner=True, directory=Path(sys.argv[1]), say=lambda step: print(step, flush=True))
time.sleep(600)
"""


class Owner:
    """A process that owns a bed."""

    def __init__(self, directory: Path, count: int) -> None:
        command = [sys.executable, "-c", OWNER, str(directory), str(count)]
        self.directory = directory
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True)

    def until_told(self, step: str, seconds: float = 120) -> Layout:
        assert self.process.stdout is not None
        end, told = time.monotonic() + seconds, b""
        while step.encode() not in told:
            assert select.select([self.process.stdout], [], [], end - time.monotonic())[0], told.decode()
            chunk = os.read(self.process.stdout.fileno(), 4096)
            assert chunk, told.decode()
            told += chunk
        return Layout.load(self.directory)

    def kill(self) -> None:
        """Its whole process group, as the end of a test run on a build machine would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    owned = Owner(tmp_path / "bed", 1)
    yield owned
    if owned.process.poll() is None:
        owned.kill()
    nodes.remove(owned.directory)


def test_nothing_is_left_after_down_and_a_death_is_told(tmp_path: Path) -> None:
    before, steps = traces.take(), list[str]()
    bed = testbed.start(nodes=1, owner=True, directory=tmp_path / "bed", proxy="nftables", say=steps.append)
    try:
        identity = bed.layout.identity
        every_step_is_told(steps)
        work_in(bed)
        a_death_is_told(bed)
        with pytest.raises(BedError, match=rf"bed number {identity} is taken; `beds` shows by whom"):
            testbed.start(nodes=1, identity=identity, directory=tmp_path / "second", say=lambda _: None)
        ran = traces.processes(identity)
        inside = traces.namespaces(ran)
        assert len(ran) > 10, "components, shims and pods"
        begin = time.clock_gettime(time.CLOCK_BOOTTIME)
    finally:
        bed.stop()
    assert time.clock_gettime(time.CLOCK_BOOTTIME) - begin < 10
    assert not traces.alive(ran)
    assert not traces.held(inside, begin)
    assert not (tmp_path / "bed").exists()
    assert not traces.differences(before, traces.take(), identity)


def every_step_is_told(steps: list[str]) -> None:
    names = [step.rsplit(maxsplit=2)[0] for step in steps]
    assert names[-2:] == ["DNS answers", "up"]
    assert all(float(step.split()[-2]) >= 0 for step in steps), "seconds"


def work_in(bed: Bed) -> None:
    """Everything that leaves something outside, if anything does: pods, volumes, Services, a small disk, rules."""
    bed.load(archives.probe())
    disk = bed.node(1).small_disk()
    with Probes.open(bed, "work") as probes:
        volumes = [
            {"name": "disk", "hostPath": {"path": disk.path}},
            {"name": "empty", "emptyDir": {"medium": "Memory"}},
        ]
        probes.start(pod("worker", volumes=volumes))
        # The namespace is deleted in the background while the bed is taken away.


def a_death_is_told(bed: Bed) -> None:
    """Not by way of the faults: as if it had crashed."""
    scheduler = bed.component("kube-scheduler")
    pid = scheduler.pid
    assert pid is not None
    os.kill(pid, signal.SIGABRT)
    until("another one", lambda: scheduler.pid not in (None, pid), 20)
    (told,) = bed.deaths()
    assert "kube-scheduler on node1 ended at " in told
    assert "last lines of " in told
    assert re.search(r"^(goroutine \d+|rip|pc) ", told, re.MULTILINE), "its own last words, not its successor's"


@pytest.mark.parametrize("step", ["bridge, nodes", "\nup "], ids=["while-starting", "in-use"])
def test_nothing_is_left_when_the_owner_is_killed(shared_bed: Bed, owner: Owner, step: str) -> None:
    before = traces.take()
    layout = owner.until_told(step)
    ran = traces.processes(layout.identity)
    two_stand_side_by_side(shared_bed, layout)
    owner.kill()
    until("end of the bed", lambda: not owner.directory.exists(), 30)
    assert not traces.alive(ran)
    assert not traces.differences(before, traces.take(), layout.identity)
    assert shared_bed.api.ready()
    assert all(node.running for node in shared_bed.nodes)


def two_stand_side_by_side(one: Bed, other: Layout) -> None:
    assert other.identity != one.layout.identity
    listed = run(sys.executable, Path(__file__).parent, "beds")
    assert str(other.directory) in listed
    assert str(one.directory) in listed
    told = run(sys.executable, Path(__file__).parent, "--directory", other.directory, "status")
    assert f"node1  {other.address(1)}" in told
    assert f"export KUBECONFIG={other.directory}/kubeconfig" in told


def test_the_next_bed_takes_away_what_nobody_was_left_to_clear_up(owner: Owner) -> None:
    layout = owner.until_told("bridge, nodes")
    guard = int((owner.directory / "guard").read_text().split()[0])
    os.kill(guard, signal.SIGKILL)
    owner.kill()
    assert layout.identity in nodes.claimed()
    assert layout.identity in nodes.reclaim()
    assert not owner.directory.exists()
    assert nodes.claimed().get(layout.identity) != owner.directory
