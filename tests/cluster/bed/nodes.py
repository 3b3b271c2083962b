"""Nodes from outside: power on, power off, running a command in one, and taking a whole bed away.

Called by bed.py, faults.py and guard.py; calls cgroups.py and the programs unshare, nsenter and ip. Only the
standard library, because the guard, which clears up after a killed owner, must need nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.bed import cgroups
from tests.cluster.bed.layout import BEDS, RANGES, ROOT, Layout
from tests.cluster.bed.logs import tail
from tests.cluster.bed.waiting import BedError, run, started, until

NETWORK = Path("/sys/class/net")
NAMESPACES = ("--mount", "--pid", "--net", "--uts", "--cgroup")
# Joins the groups whose cgroup.procs come before --, then becomes the command after it. A shell and no preexec_fn:
# the caller may have threads.
_JOIN = 'while [ "$1" != -- ]; do echo 0 >"$1"; shift; done; shift; exec "$@"'
_FILTERS = {"iptables": "bridge-nf-call-iptables", "ip6tables": "bridge-nf-call-ip6tables"}
# Unsupervised children of this process, which reaps them when their node ends.
_children: dict[tuple[Path, int], subprocess.Popen[bytes]] = {}


def program(name: str, *arguments: object) -> list[str]:
    """A command that runs one of this folder's modules, without site packages and without the caller's folder."""
    return [sys.executable, "-P", "-S", str(Path(__file__).with_name(name)), *map(str, arguments)]


def environment(layout: Layout) -> dict[str, str]:
    path = f"{layout.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "HOME": "/run", "TMPDIR": "/run", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def boot(layout: Layout, number: int) -> None:
    """Start node `number`: join its cgroups, enter new namespaces, become the supervisor; then plug the cable in."""
    name = f"node{number}"
    doors = cgroups.make(layout.name, name)
    unshare = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    command = ["sh", "-c", _JOIN, "sh", *map(str, doors), "--", *unshare]
    with open(layout.log(number, "supervisor"), "ab") as log:
        child = subprocess.Popen(
            command + program("supervisor.py", layout.directory, number),
            cwd="/",
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(layout),
        )
    _children[layout.directory, number] = child
    first = _first_process(layout, number, child)
    cgroups.step_aside(layout.name, name, child.pid)
    (layout.node(number) / "pid").write_text(f"{first} {started(first)}")
    cable = f"{layout.name}n{number}"
    run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", first)
    run("ip", "link", "set", cable, "master", layout.name, "up")


def _first_process(layout: Layout, number: int, child: subprocess.Popen[bytes]) -> int:
    """The pid, outside, of the process that is 1 inside."""
    found: list[int] = []

    def look() -> bool:
        if child.poll() is not None:
            raise BedError(f"node{number} did not start; {tail(layout.log(number, 'supervisor'))}")
        children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        found[:] = [int(pid) for pid in children if f"NSpid:\t{pid}\t1\n" in _status(int(pid))]
        return bool(found)

    until(f"node{number}'s namespaces", look, 10, 0.005)
    return found[0]


def _status(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/status").read_text()
    return ""


def first_process(layout: Layout, number: int) -> int | None:
    """None when the node is down."""
    try:
        pid, begin = (layout.node(number) / "pid").read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if started(int(pid)) == begin else None


def inside(layout: Layout, number: int, *command: object) -> list[str]:
    """A command line that runs the command in the node."""
    pid = first_process(layout, number)
    if pid is None:
        raise BedError(f"node{number} of {layout.name} is down")
    own = [f"{key}={value}" for key, value in environment(layout).items()]
    enter = ["nsenter", "--target", str(pid), *NAMESPACES, "--wd=/"]
    return [*enter, "env", "-i", *own, *map(str, command)]


def halt(bed: str, *names: str) -> None:
    """Power loss of the nodes: kill whatever is in their groups, wait for its end, remove what belonged to them."""

    seen: dict[int, str | None] = {}

    def gone(name: str) -> bool:
        left = cgroups.processes(bed, name)
        for pid in left:
            seen.setdefault(pid, started(pid))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _reap()
        # A process leaves its groups a little before it has ended.
        return not left and not any(begin and started(pid) == begin for pid, begin in seen.items())

    for name in names:
        until(f"end of {name}'s processes", lambda name=name: gone(name), 30, 0.02)
    for name in names:
        _unplug(f"{bed}n{name.removeprefix('node')}")
        until(f"end of {name}'s cgroups", lambda name=name: not list(cgroups.remove(bed, name)), 15, 0.02)


def _reap() -> None:
    for (directory, number), child in list(_children.items()):
        if child.poll() is not None:
            del _children[directory, number]


def _unplug(cable: str) -> None:
    """The cable goes with the node's network namespace, unless something holds that a little longer."""
    with contextlib.suppress(BedError):
        until("end of the network namespace", lambda: not (NETWORK / cable).exists(), 0.3, 0.01)
    if (NETWORK / cable).exists():
        with contextlib.suppress(BedError):  # gone in between
            run("ip", "link", "delete", cable)


def claim(identity: int | None, directory: Path) -> int:
    """Make the bridge, which is how a bed's number is taken: the kernel lets only one of two succeed."""
    for number in BEDS if identity is None else (identity,):
        with contextlib.suppress(BedError):
            run("ip", "link", "add", f"bed{number}", "type", "bridge")
            run("ip", "link", "set", f"bed{number}", "alias", directory)
            return number
    which = "every bed number" if identity is None else f"bed number {identity}"
    raise BedError(f"{which} is taken; `beds` shows by whom, `down --identity K` frees one")


def claimed() -> dict[int, Path]:
    """The beds on this machine and their folders."""
    found = {}
    for number in BEDS:
        with contextlib.suppress(OSError):
            found[number] = Path((NETWORK / f"bed{number}" / "ifalias").read_text().strip())
    return found


def bridge(layout: Layout) -> None:
    """The machine's end of the nodes' network, and routes to what is behind the nodes."""
    run("ip", "link", "set", layout.name, "up")
    for family in layout.families:
        late = " nodad" if family == 6 else ""
        pods = [(layout.pods(number, family), layout.address(number, family)) for number in layout.numbers]
        lines = [
            f"address add {layout.host(family)}/{layout.prefix(family)} dev {layout.name}{late}",
            # What no node has ends here instead of leaving the machine; the metric makes it this bed's own.
            f"route add blackhole {RANGES[family]} metric {_metric(layout.identity)}",
            f"route add {layout.services(family)} via {layout.address(1, family)}",
            f"route add {layout.balancers(family)} via {layout.address(1, family)}",
            *(f"route add {subnet} via {address}" for subnet, address in pods),
        ]
        run("ip", f"-{family}", "-batch", "-", text="\n".join(lines))

    _let_through(layout.name)


def _let_through(bed: str) -> None:
    """Where bridged packets pass the machine's packet filter and that forwards nothing, as container engines set it
    up, the nodes would not reach each other."""
    for program, switch in _FILTERS.items():
        if _filtered(program, switch):
            run(program, "--wait", "--insert", *_rule(bed))


def _filtered(program: str, switch: str) -> bool:
    passes = Path("/proc/sys/net/bridge", switch)
    if not passes.exists() or passes.read_text().strip() == "0":
        return False
    return "-P FORWARD DROP" in run(program, "--wait", "--list-rules", "FORWARD")


def _rule(bed: str) -> list[str]:
    return ["FORWARD", "--in-interface", bed, "--out-interface", bed, "--jump", "ACCEPT"]


def _metric(identity: int) -> int:
    return 19800 + identity  # 198.18: recognisable in a list of routes


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[bool]:
    """One at a time; False: the folder is gone, somebody else has cleared up."""
    try:
        handle = os.open(directory, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield directory.exists()
    finally:
        os.close(handle)


def sweep(identity: int) -> None:
    """Take away everything of a bed outside its folder, whatever is left of it."""
    bed = f"bed{identity}"
    halt(bed, *cgroups.nodes(bed))
    until(f"end of {bed}'s cgroups", lambda: not list(cgroups.remove(bed)), 10, 0.02)
    for family, everything in RANGES.items():
        with contextlib.suppress(BedError):  # never added
            run("ip", f"-{family}", "route", "delete", "blackhole", everything, "metric", _metric(identity))
    for program, switch in _FILTERS.items():
        if _filtered(program, switch):
            with contextlib.suppress(BedError):  # the filter was set up after us
                run(program, "--wait", "--delete", *_rule(bed))
    if (NETWORK / bed).exists():
        run("ip", "link", "delete", bed)  # and with it the routes through it


def remove(directory: Path) -> None:
    """Take a whole bed away. The folder goes last: as long as it is there, this can be done again."""
    with locked(directory) as present:
        if not present:
            return
        if (directory / "bed.json").exists():
            layout = Layout.load(directory)
            _dismiss_guard(directory)
            if claimed().get(layout.identity) == directory or cgroups.nodes(layout.name):
                sweep(layout.identity)
        until("removal of the folder", lambda: _removed(directory), 10, 0.1)


def _removed(directory: Path) -> bool:
    """The kernel takes a moment to give back what was mounted from here."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def _dismiss_guard(directory: Path) -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
        pid, begin = (directory / "guard").read_text().split()
        if int(pid) != os.getpid() and started(int(pid)) == begin:
            os.kill(int(pid), signal.SIGKILL)


def reclaim() -> list[int]:
    """Take away beds whose owner is gone and whose guard is too, as after a killed container."""
    taken = []
    for number, directory in claimed().items():
        with contextlib.suppress(OSError, json.JSONDecodeError, KeyError):
            layout = Layout.load(directory)
            if layout.owner and started(layout.owner[0]) != layout.owner[1]:
                remove(directory)
                taken.append(number)
    return taken


def wait_for_end(pid: int, begin: str | None) -> None:
    """Return when the process is gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        while started(pid) == begin:
            select.select([handle], [], [], 60)  # a pidfd is readable when its process has ended
    finally:
        os.close(handle)
