"""Everything that can be done to a bed: components, nodes, network, disks, certificates, a slow API server.

The parts of bed.py's API that break things, each with its way back; called by tests through `Bed`; calls nodes.py,
readiness.py and certificates.py.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.bed import components, nodes
from tests.cluster.bed.client import Api
from tests.cluster.bed.layout import Layout
from tests.cluster.bed.logs import tail
from tests.cluster.bed.waiting import BedError, run, until

# States of a bridge's port as the kernel numbers them: disabled drops everything without either side's link going down.
_CUT, _FORWARDING = 0, 3


class Component:
    """One supervised program on one node. What is killed is started again; what is stopped is not."""

    def __init__(self, layout: Layout, number: int, name: str) -> None:
        known = [each.program for each in components.of(layout, number)]
        if name not in known:
            raise BedError(f"{name}: not on node{number}, which has {', '.join(known)}")
        self._layout, self._number, self.name = layout, number, name

    @property
    def pid(self) -> int | None:
        """As the machine sees it; None while it does not run."""
        first = nodes.first_process(self._layout, self._number)
        if first is None:
            return None
        with contextlib.suppress(OSError):
            for pid in Path(f"/proc/{first}/task/{first}/children").read_text().split():
                if _program(int(pid)) == self.name:
                    return int(pid)
        return None

    @property
    def running(self) -> bool:
        return self.pid is not None

    def _note(self, kind: str) -> Path:
        return self._layout.node(self._number) / f"{kind}-{self.name}"

    def _signal(self, number: signal.Signals) -> int:
        pid = self.pid
        if pid is None:
            log = tail(self._layout.log(self._number, self.name))
            raise BedError(f"{self.name} does not run on node{self._number}; {log}")
        os.kill(pid, number)
        return pid

    def stop(self) -> None:
        """End it and keep it from being started again."""
        self._note("hold").touch()
        if self.running:
            self.kill()

    def start(self) -> None:
        self._note("hold").unlink(missing_ok=True)
        until(f"start of {self.name}", lambda: self.running, 30)

    def kill(self) -> None:
        """End it; the supervisor starts it again after a second."""
        self._note("expect").touch()
        pid = self._signal(signal.SIGKILL)
        until(f"end of {self.name}", lambda: self.pid != pid, 10, 0.02)

    def pause(self) -> None:
        """It keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)


def _program(pid: int) -> str:
    """The component's name from its command line; the load balancer is a Python program and known by its file."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return "load-balancer" if any(word.endswith("/loadbalancer.py") for word in words) else words[0].rpartition("/")[2]


class Disk:
    """A small file system in a node, for a hostPath volume or for a fault."""

    def __init__(self, node: Node, path: str, megabytes: int) -> None:
        self._node, self.path = node, path
        node.run("mkdir", "-p", path)
        node.run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=1777", "small", path)

    def fill(self) -> None:
        """Until nothing more can be written."""
        command = self._node.command("dd", "if=/dev/zero", f"of={self.path}/.filler", "bs=64k")
        words = subprocess.run(command, capture_output=True, text=True, check=False).stderr
        if "No space left" not in words:
            raise BedError(f"{self.path} on {self._node.name} did not fill up: {words.strip()}")

    def free(self) -> None:
        self._node.run("rm", "-f", f"{self.path}/.filler")

    def remove(self) -> None:
        """Lazily: a container may still have it open."""
        self._node.run("umount", "--lazy", self.path)


class Node:
    """One node, running or not."""

    def __init__(self, layout: Layout, number: int) -> None:
        self._layout, self.number, self.name = layout, number, f"node{number}"
        self.addresses = [layout.address(number, family) for family in layout.families]
        self.address = self.addresses[0]

    def command(self, *command: object) -> list[str]:
        """A command line that runs the command in the node, for subprocess."""
        return nodes.inside(self._layout, self.number, *command)

    def run(self, *command: object, seconds: float = 120) -> str:
        return run(*self.command(*command), seconds=seconds)

    def succeeds(self, *command: object) -> bool:
        return subprocess.run(self.command(*command), capture_output=True, check=False).returncode == 0

    def component(self, name: str) -> Component:
        return Component(self._layout, self.number, name)

    @property
    def running(self) -> bool:
        return nodes.first_process(self._layout, self.number) is not None

    def kill(self) -> None:
        """Power loss. What the supervisor still managed to write of it, before it went itself, is no news."""
        ended = self._layout.node(self.number) / "ended"
        told = ended.stat().st_size if ended.exists() else 0
        nodes.halt(self._layout.name, self.name)
        if ended.exists():
            os.truncate(ended, told)

    def boot(self) -> None:
        if self.running:
            raise BedError(f"{self.name} is running")
        nodes.boot(self._layout, self.number)

    def _port(self, state: int) -> None:
        run("bridge", "link", "set", "dev", f"{self._layout.name}n{self.number}", "state", state)

    def cut(self) -> None:
        self._port(_CUT)

    def heal(self) -> None:
        self._port(_FORWARDING)

    @contextlib.contextmanager
    def partition(self) -> Iterator[None]:
        """Every packet to and from the node is lost; its link stays up, as behind a broken switch."""
        self.cut()
        try:
            yield
        finally:
            self.heal()

    def small_disk(self, megabytes: int = 8) -> Disk:
        path = f"/var/lib/small-disks/{os.urandom(4).hex()}"
        return Disk(self, path, megabytes)


class Faults:
    """The faults of a whole bed; `Bed` adds the rest."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.nodes = [Node(layout, number) for number in layout.numbers]

    @property
    def directory(self) -> Path:
        return self.layout.directory

    @property
    def api(self) -> Api:
        """A small client with the administrator's rights."""
        return Api.from_kubeconfig(self.directory / "kubeconfig", self.layout.pki / "ca.crt")

    def node(self, which: int | str) -> Node:
        name = f"node{which}" if isinstance(which, int) else which
        for node in self.nodes:
            if node.name == name:
                return node
        raise BedError(f"{name}: the bed has {', '.join(node.name for node in self.nodes)}")

    def component(self, name: str, node: int = 1) -> Component:
        return self.node(node).component(name)

    def restart(self, name: str, node: int = 1) -> None:
        """Kill it and wait until it runs again and the API server is ready."""
        component = self.component(name, node)
        old = component.pid
        component.kill()
        until(f"new {name}", lambda: component.pid not in (None, old), 30)
        until("/readyz", self.api.ready, 60)

    @contextlib.contextmanager
    def slow_api(self, seconds: float) -> Iterator[None]:
        """Answers are held for up to this long: the server is stopped and goes on by turns."""
        server, over = self.component("kube-apiserver"), threading.Event()
        breath = 0.02  # seconds that it runs in between: enough for the requests that have gathered

        def hold() -> None:
            while not over.is_set():
                with contextlib.suppress(BedError, ProcessLookupError):  # it may have been killed meanwhile
                    server.pause()
                    over.wait(seconds)
                    server.resume()
                over.wait(breath)

        thread = threading.Thread(target=hold, name="slow-api")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextlib.contextmanager
    def aged_certificate(self, name: str, begin: datetime.timedelta, end: datetime.timedelta) -> Iterator[None]:
        """Another validity for a certificate, counted from now; the component reads it anew, and back at the end."""
        from tests.cluster.bed.certificates import Authority

        authority = Authority(self.layout.pki, "front-proxy-ca" if name.startswith("front-proxy") else "ca")
        now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
        authority.renew(name, now + begin, now + end)
        try:
            yield
        finally:
            authority.renew(name, now - day, now + 365 * day)
