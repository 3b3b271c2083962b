"""The Debian packages that the bed needs: installed when we may, named when we may not.

Called by bed.py, and by whoever else needs a program from a package (`ensure`); calls apt-get.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.bed.waiting import BedError, Say, aloud

# The program (or a file) that is looked for, and the package that has it. Looked for by program, not by package: where
# another vendor's containerd is installed, Debian's would conflict with it, and either will do.
PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ipset": "ipset",
    "ip": "iproute2",
    "bridge": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
}
CNI = Path("/usr/lib/cni")


def _there(what: str) -> bool:
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return Path(what).exists() if what.startswith("/") else shutil.which(what, path=search) is not None


def missing(wanted: Mapping[str, str] = PACKAGES) -> list[str]:
    """The packages that would have to be installed."""
    return sorted({package for what, package in wanted.items() if not _there(what)})


def installable() -> bool:
    """Root on a system with apt-get."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def advice(packages: list[str]) -> str:
    return (
        f"not installed: {', '.join(packages)}; as root: apt-get install --no-install-recommends {' '.join(packages)}"
    )


def ensure(wanted: Mapping[str, str] = PACKAGES, say: Say = aloud) -> None:
    """Install what is missing and say so; where that is not possible, the error says what to run."""
    if not (lacking := missing(wanted)):
        return
    if not installable():
        raise BedError(advice(lacking))
    say(f"installing Debian packages: {' '.join(lacking)}")
    # RUNLEVEL=1: the packages' services are not started by their installation; the bed runs its own.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *lacking]
    for command in (["apt-get", "update", "--quiet"], install):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode and command is install:
            raise BedError(f"{advice(lacking)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    if lacking := missing(wanted):
        raise BedError(f"after their installation, still {advice(lacking)}")


def location(name: str) -> str:
    """Where a program is, also for those that are on root's PATH only."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        raise BedError(advice([PACKAGES.get(name, name)]))
    return found
