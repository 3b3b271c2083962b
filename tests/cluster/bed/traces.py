"""What exists on the machine, for comparing before and after a bed: the proof that nothing is left behind.

Called by test_traces.py; calls ip, nft and iptables-save. Traces of other beds, which may come and go meanwhile,
are left out of a comparison.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from pathlib import Path

from tests.cluster.bed import cgroups
from tests.cluster.bed.layout import BEDS
from tests.cluster.bed.toolchain import cache
from tests.cluster.bed.waiting import started

_COMMANDS = {
    "links": ("ip", "-oneline", "link"),
    "addresses": ("ip", "-oneline", "address"),
    "routes": ("ip", "route", "show", "table", "all"),
    "routes of IPv6": ("ip", "-6", "route", "show", "table", "all"),
    "named namespaces": ("ip", "netns"),
    "rules of nftables": ("nft", "list", "ruleset"),
    "rules of iptables": ("iptables-save",),
    "rules of iptables, old": ("iptables-legacy-save",),
}
_FOLDERS = ("/var/lib", "/var/log", "/opt", "/etc", "/etc/cni", "/usr/libexec", "/run")
# The kubelet, kube-proxy and the plugins would like to set these.
_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv4/conf/all/route_localnet",
    "net/netfilter/nf_conntrack_max",
    "net/bridge/bridge-nf-call-iptables",
)
# Lifetimes, byte counts and dates differ from one look to the next; xtables.lock is what looking itself leaves.
_FLEETING = re.compile(r"expires \d+sec|\[\d+:\d+\]|^# .*|(?:valid|preferred)_lft \S+|xtables\.lock", re.MULTILINE)

_OURS = re.compile(r"/(bed\d+|kubepods\S*|init)(/|$)")

Traces = dict[str, set[str]]


def _output(*command: str) -> set[str]:
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return set()
    return {line.strip() for line in _FLEETING.sub("", text).splitlines() if line.strip()}


def take() -> Traces:
    """A picture of the machine."""
    traces = {what: _output(*command) for what, command in _COMMANDS.items()}
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    traces["mounts"] = {line for line in mounts if str(cache().parent / "images") not in line}  # those of image builds
    groups = (folder for folder, _, _ in os.walk(cgroups.ROOT))
    traces["cgroups"] = {folder for folder in groups if _OURS.search(folder)}  # other programs make and drop theirs
    traces["files"] = {
        f"{folder}/{name}" for folder in _FOLDERS if Path(folder).is_dir() for name in os.listdir(folder)
    } - {"/run/xtables.lock"}
    for key in _SETTINGS:
        with contextlib.suppress(OSError):
            traces.setdefault("settings", set()).add(f"{key} {Path('/proc/sys', key).read_text().strip()}")
    return traces


def differences(before: Traces, after: Traces, identity: int) -> list[str]:
    """What came or went, but for what bears the name, number or metric of another bed."""
    others = [str(number) for number in BEDS if number != identity]
    foreign = re.compile(rf"\bbed({'|'.join(others)})(n\d+)?\b|metric 198({'|'.join(n.zfill(2) for n in others)})\b")
    return [
        f"{what}: {sign} {line}"
        for what in before
        for sign, lines in (("new", after[what] - before[what]), ("gone", before[what] - after[what]))
        for line in sorted(lines)
        if not foreign.search(line)
    ]


def processes(identity: int) -> dict[int, str | None]:
    """Of all of the bed's nodes, with what tells each from a later process of the same number."""
    bed = f"bed{identity}"
    found = {pid for node in cgroups.nodes(bed) for pid in cgroups.processes(bed, node)}
    return {pid: started(pid) for pid in found}


def alive(known: dict[int, str | None]) -> list[int]:
    """Those of them that still run."""
    return [pid for pid, begin in known.items() if begin is not None and started(pid) == begin]


def namespaces(pids: dict[int, str | None]) -> set[str]:
    """The namespaces these processes are in, but for those of the machine."""
    kinds = ("mnt", "net", "pid", "uts", "cgroup", "ipc")

    def of(pid: int | str) -> set[str]:
        with contextlib.suppress(OSError):
            return {os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds}
        return set()

    return set().union(*map(of, pids)) - of("self")


def held(inside: set[str], since: float) -> list[int]:
    """Processes that are in one of these namespaces and began before `since` (seconds after boot): the numbers of
    namespaces are given out again, so a later process may be in another of the same number."""
    last = since * os.sysconf("SC_CLK_TCK")
    everybody = map(int, filter(str.isdigit, os.listdir("/proc")))
    return [pid for pid in everybody if float(started(pid) or "inf") < last and namespaces({pid: None}) & inside]
