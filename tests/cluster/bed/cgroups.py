"""The machine's cgroup hierarchies, of version 1, version 2 or both, and a bed's groups in them.

Called by nodes.py outside and machine.py inside a node; calls nothing else. A bed has the group
bedK in every hierarchy and below it one group per node, which the node's cgroup namespace takes for the root:
so two kubelets never meet in /kubepods, and whatever a node started is found by its group.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.cluster.bed.waiting import BedError

ROOT = Path("/sys/fs/cgroup")
_NEEDED = {"cpu", "memory", "pids"}  # of the kubelet and runc
# Options that every mount has; what remains names the hierarchy's controllers.
_USUAL = {"rw", "nosuid", "nodev", "noexec", "relatime", "nsdelegate", "memory_recursiveprot"}


class Hierarchy(NamedTuple):
    """One mounted hierarchy: where, cgroup or cgroup2, and the options to mount it again with."""

    path: Path
    kind: str
    options: str


def hierarchies() -> list[Hierarchy]:
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options = line.split()[:4]
        path = Path(where)
        if not kind.startswith("cgroup") or not path.is_relative_to(ROOT):
            continue
        named = [option for option in options.split(",") if option not in _USUAL]
        if "name=" in options:
            named.insert(0, "none")  # the kernel wants this before a hierarchy without a controller
        found.append(Hierarchy(path, kind, ",".join(named) or "rw"))
    return found


def unified() -> bool:
    """Version 2 alone."""
    return any(each.path == ROOT for each in hierarchies())


def delegate(group: Path) -> bool:
    """Version 2: let the groups below use every controller of this one. False: its processes forbid it as yet."""
    try:
        controllers = (group / "cgroup.controllers").read_text().split()
    except FileNotFoundError:  # a hierarchy of version 1
        return True
    refused = set()
    for controller in controllers:
        try:
            (group / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError:
            refused.add(controller)
    return not refused & _NEEDED


def step_aside(bed: str, node: str, pid: int) -> None:
    """Version 2: a group with processes of its own may not delegate, so the node's outer process moves one down."""
    if unified():
        aside = ROOT / bed / node / "init"
        aside.mkdir(exist_ok=True)
        (aside / "cgroup.procs").write_text(str(pid))


def _insist(group: Path) -> None:
    if not delegate(group):
        raise BedError(
            f"{group}: no group may be made here that has {', '.join(sorted(_NEEDED))}; in a container, it needs the "
            "machine's cgroup namespace or its processes in a group below the topmost"
        )


def make(bed: str, node: str) -> list[Path]:
    """Make the node's groups; the answer is the files a process writes 0 to for joining them."""
    doors = []
    for hierarchy in hierarchies():
        group = hierarchy.path
        for name in (bed, node):
            if hierarchy.kind == "cgroup2":
                _insist(group)
            group = group / name
            group.mkdir(exist_ok=True)
            for setting in ("cpuset.cpus", "cpuset.mems"):  # version 1: born empty, and then nothing may enter
                if hierarchy.kind == "cgroup" and (group / setting).exists():
                    (group / setting).write_text((group.parent / setting).read_text())
        doors.append(group / "cgroup.procs")
    return doors


def nodes(bed: str) -> list[str]:
    """The nodes that have a group, whether or not anything runs in it."""
    found = {group.name for each in hierarchies() for group in (each.path / bed).glob("node*")}
    return sorted(found)


def processes(bed: str, node: str) -> set[int]:
    """All processes in the node's groups and below."""
    found: set[int] = set()
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy.path / bed / node):
            with contextlib.suppress(OSError):
                found.update(map(int, (Path(folder) / "cgroup.procs").read_text().split()))
    return found


def remove(bed: str, node: str = "") -> Iterator[Path]:
    """Remove the groups, innermost first; those that the kernel still holds are yielded, to be tried again."""
    for hierarchy in hierarchies():
        for folder, _, _ in os.walk(hierarchy.path / bed / node, topdown=False):
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                continue
            except OSError:
                yield Path(folder)
