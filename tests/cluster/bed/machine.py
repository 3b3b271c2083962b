"""A machine made of the namespaces that a node's first process was born into: file systems, cgroups, network.

Called by the supervisor, once, before anything else; calls cgroups.py, layout.py and the programs mount and ip.
All of it lives in the node's own namespaces and ends with them.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from tests.cluster.bed import cgroups
from tests.cluster.bed.layout import RANGES, Layout
from tests.cluster.bed.waiting import run, until

# The kubelet sets these, but they belong to the whole machine: in a node, files that hold the wanted values already
# lie over them.
_MACHINE_WIDE = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}
# What a node has of its own instead of the machine's; nothing that the node must see may lie under these.
HIDDEN = ("/var", "/opt", "/run", "/etc", "/sys", "/proc", "/dev")


def hidden(path: Path) -> bool:
    return any(path.resolve().is_relative_to(folder) for folder in HIDDEN)


def prepare(layout: Layout, number: int) -> None:
    socket.sethostname(f"node{number}")
    _folders(layout.node(number))
    _groups()
    _settings()
    run("mount", "--make-rshared", "/")  # volumes mounted by the kubelet must reach the containers
    _network(layout, number)


def _folders(own: Path) -> None:
    run("mount", "--bind", own / "var", "/var")
    run("mount", "--bind", own / "opt", "/opt")
    # An overlay on / itself would hide the machine's /proc and /dev; /etc is all that has to be changed.
    run("mount", "-t", "overlay", "-o", f"lowerdir=/etc,upperdir={own}/etc,workdir={own}/work", "node", "/etc")
    run("mount", "-t", "tmpfs", "node", "/run")
    if not os.path.lexists("/var/run"):
        os.symlink("/run", "/var/run")


def _groups() -> None:
    """A sysfs that shows the node's own interfaces; it covers the cgroups, which are therefore mounted again."""
    known = cgroups.hierarchies()
    run("mount", "-t", "sysfs", "node", "/sys")
    if known[0].path == cgroups.ROOT:
        _unified()
        return
    run("mount", "-t", "tmpfs", "node", cgroups.ROOT)
    for each in known:
        each.path.mkdir()
        run("mount", "-t", each.kind, "-o", each.options, each.kind, each.path)


def _unified() -> None:
    """Version 2 alone: a group with processes may not delegate, so this node's move into one below."""
    run("mount", "-t", "cgroup2", "node", cgroups.ROOT)
    aside = cgroups.ROOT / "init"

    def delegated() -> bool:
        aside.mkdir(exist_ok=True)
        for pid in (cgroups.ROOT / "cgroup.procs").read_text().split():
            if pid != "0":  # not ours to move: the process outside that waits for us, which steps aside by itself
                (aside / "cgroup.procs").write_text(pid)
        return cgroups.delegate(cgroups.ROOT)

    until("delegation of the cgroup's controllers", delegated, 10)


def _settings() -> None:
    for key, value in _MACHINE_WIDE.items():
        stand_in = Path("/run") / f"sysctl-{key.replace('/', '.')}"
        stand_in.write_text(f"{value}\n")
        run("mount", "--bind", stand_in, f"/proc/sys/{key}")


def _network(layout: Layout, number: int) -> None:
    until("the cable", lambda: os.path.exists("/sys/class/net/eth0"), 10, 0.01)
    _early_settings(layout)
    run("ip", "-batch", "-", text="link set lo up\nlink set eth0 up")
    others = [other for other in layout.numbers if other != number]
    for family in layout.families:
        address = layout.address(number, family)
        # nodad: nobody else can have this address, and waiting for objections takes a second.
        late = " nodad" if family == 6 else ""
        lines = [
            f"address add {address}/{layout.prefix(family)} dev eth0{late}",
            # Without a route a local call to a Service fails before the packet filter sees it.
            f"route add {layout.services(family)} dev eth0",
            f"route add blackhole {RANGES[family]}",
            *(f"route add {layout.pods(other, family)} via {layout.address(other, family)}" for other in others),
        ]
        run("ip", f"-{family}", "-batch", "-", text="\n".join(lines))


def _early_settings(layout: Layout) -> None:
    values = {
        "net/ipv4/ip_forward": "1",
        # By default a killed process's connections keep the namespace for 100 s, and `down` waits for it.
        "net/ipv4/tcp_orphan_retries": "1",
    }
    if 6 in layout.families:
        values |= {"net/ipv6/conf/all/forwarding": "1", "net/ipv6/conf/default/accept_dad": "0"}
        values |= {"net/ipv6/conf/eth0/accept_dad": "0", "net/ipv6/conf/eth0/accept_ra": "0"}
    for key, value in values.items():
        Path("/proc/sys", key).write_text(value)
