"""Where a chaos run happens: a network namespace for callers and sidecar, one for each echo, a switch between.

Used by `bed` and `run`. Nothing leads outside. What is made by whoever is `inside` belongs there: sockets, threads and
processes. A namespace lives as long as the process that holds it, which ends when the run does, however that ends; so
nothing is left to be swept. Where namespaces cannot be had, all of it is on loopback, and faults that need them say so.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.cluster.bed.packages import ensure
from tests.cluster.bed.waiting import BedError
from tests.support.namespaces import Namespace, namespace

PREFIX = "198.18.0."  # for tests of networks (RFC 2544): nobody's
NEWNET = 0x40000000  # CLONE_NEWNET
TOOLS = {"ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux"}


class NotRun(Exception):
    """Why a case cannot be run here, and what would make it possible."""


class Network:
    """`addresses` are the echoes'. The base of both kinds, and the one without namespaces, which says `why`."""

    def __init__(self, echoes: int, why: str = "") -> None:
        self.addresses = ["127.0.0.1"] * echoes
        self._why = why

    def inside(self, number: int) -> tuple[str, ...]:
        """What stands in front of a command that is to run where this echo is."""
        return ()

    def cut(self, number: int) -> None:
        """Pull this echo's cable: what is sent there vanishes. Raises NotRun, as all that follow do."""
        self._lacking()

    def mend(self, number: int) -> None:
        """As it was."""
        self._lacking()

    def lose(self, number: int, percent: int) -> None:
        """Of the packets to and from this echo so many of a hundred are lost; 0: none any more."""
        self._lacking()

    def close_way(self, number: int) -> None:
        """Routers say that there is no way to this echo."""
        self._lacking()

    def resolving(self, folder: Path) -> tuple[str, ...]:
        """What stands in front of a command that is to ask the name server of this network."""
        self._lacking()
        return ()

    def _lacking(self) -> None:
        raise NotRun(self._why)


class Switched(Network):
    """Made of namespaces. Its methods are for the thread that is inside."""

    def __init__(self, callers: Namespace, places: list[Namespace]) -> None:
        super().__init__(len(places))
        self.addresses = [f"{PREFIX}{number + 2}" for number in range(len(places))]
        self._places = places
        _ip("link add switch type bridge", f"addr add {PREFIX}1/24 dev switch", "link set switch up")
        for number, place in enumerate(places):
            _ip(
                f"link add echo{number} type veth peer name eth0 netns {place.holder.pid}",
                f"link set echo{number} master switch up",
            )
            place.run("ip", "addr", "add", f"{self.addresses[number]}/24", "dev", "eth0")
            place.run("ip", "link", "set", "eth0", "up")
        assert callers.path

    def inside(self, number: int) -> tuple[str, ...]:
        return ("nsenter", f"--net={self._places[number].path}")

    def cut(self, number: int) -> None:
        _ip(f"link set echo{number} down")

    def mend(self, number: int) -> None:
        _ip(f"link set echo{number} up", f"route flush root {self.addresses[number]}/32")

    def lose(self, number: int, percent: int) -> None:
        """In its kernel and in ours: each loses of what arrives."""
        need({"iptables": "iptables"})
        for place in ((), self.inside(number)):
            source = [] if place else ["-s", self.addresses[number]]
            rule = [*source, "-m", "statistic", "--mode", "random", "--probability", f"{percent / 100}", "-j", "DROP"]
            _run(*place, "iptables", "-F", "INPUT")
            if percent:
                _run(*place, "iptables", "-A", "INPUT", *rule)

    def close_way(self, number: int) -> None:
        _ip(f"route add unreachable {self.addresses[number]}/32")

    def resolving(self, folder: Path) -> tuple[str, ...]:
        ours = folder / "resolv.conf"
        ours.write_text("nameserver 127.0.0.1\n")
        mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return ("unshare", "--mount", "sh", "-c", mount, str(ours))


def mortal(number: str = "KILL") -> tuple[str, ...]:
    """What stands in front of a command that is to get this signal when the run ends, however that does."""
    return ("setpriv", "--pdeathsig", number) if shutil.which("setpriv") else ()


def need(tools: dict[str, str]) -> None:
    """These programs or files, installed where that is possible. Raises NotRun."""
    try:
        ensure(tools)
    except BedError as why:
        raise NotRun(str(why)) from why


def _run(*words: str, text: str = "") -> None:
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"


def _ip(*commands: str) -> None:
    _run("ip", "-batch", "-", text="\n".join(commands))


def possible() -> str:
    """ "" or why namespaces cannot be made here."""
    if os.geteuid():
        return "network namespaces need root"
    if lacking := [tool for tool in TOOLS if not shutil.which(tool)]:
        return f"{', '.join(lacking)} not there: apt-get install {' '.join(sorted({TOOLS[tool] for tool in lacking}))}"
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        return "this kernel or container allows no network namespaces"
    return ""


@contextmanager
def network(echoes: int) -> Iterator[Network]:
    """The calling thread is inside while the block runs."""
    if why := possible():
        yield Network(echoes, why)
        return
    with ExitStack() as stack:
        callers = stack.enter_context(namespace())
        places = [stack.enter_context(namespace()) for _ in range(echoes)]
        stack.enter_context(_entered(callers))
        yield Switched(callers, places)


@contextmanager
def _entered(place: Namespace) -> Iterator[None]:
    with Path("/proc/thread-self/ns/net").open() as outside, Path(place.path).open() as inside:
        _enter(inside.fileno())
        try:
            yield
        finally:
            _enter(outside.fileno())


def _enter(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
