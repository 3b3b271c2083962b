"""Network namespaces for live tests: a pod with the real redirect rules, a world outside it, sockets in either.

A namespace is held by a process that does nothing; when that ends, all of it is gone. Sockets belong to the namespace
in which they were made, so the test's own threads serve and call in both.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest

from tests.support.sidecar import Sidecar, Snapshot

T = TypeVar("T")
_NEWNET = 0x40000000  # CLONE_NEWNET
UID = 65533  # the proxy's
INBOUND, OUTBOUND = 15006, 15001


def needed() -> None:
    """Skips where namespaces cannot be made."""
    if not shutil.which("unshare") or not shutil.which("nsenter") or not shutil.which("ip"):
        pytest.skip("needs unshare, nsenter and ip: apt-get install util-linux iproute2")
    if os.geteuid():
        pytest.skip("needs root: network namespaces, and a proxy under a uid of its own")


class Namespace:
    """One network namespace, by the process that holds it."""

    def __init__(self, holder: subprocess.Popen[bytes]) -> None:
        self.holder = holder
        self.path = f"/proc/{holder.pid}/ns/net"

    def run(self, *words: str) -> None:
        """A command inside."""
        done = subprocess.run(["nsenter", f"--net={self.path}", *words], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, f"{words}: {done.stderr}"

    def do(self, act: Callable[[], T]) -> T:
        """What `act` gives, done by a thread that is inside: a socket that it makes belongs there."""
        with ThreadPoolExecutor(1, initializer=self._enter) as thread:
            return thread.submit(act).result()

    def _enter(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(descriptor, _NEWNET):
                raise OSError(ctypes.get_errno(), f"setns {self.path}")
        finally:
            os.close(descriptor)

    def listen(self, address: str, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return self.do(lambda: socket.create_server((address, port), family=family))

    def connect(self, address: str, port: int, seconds: float = 5.0) -> socket.socket:
        return self.do(lambda: socket.create_connection((address, port), seconds))


@contextmanager
def namespace() -> Iterator[Namespace]:
    """A fresh one, with its loopback up."""
    holder = subprocess.Popen(
        ["unshare", "--net", sys.executable, "-IS", "-c", "print('in', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"in\n"
        made = Namespace(holder)
        made.run("ip", "link", "set", "lo", "up")
        yield made
    finally:
        holder.kill()
        holder.wait(10)
        for pipe in (holder.stdin, holder.stdout):
            if pipe is not None:
                pipe.close()


def link(pod: Namespace, world: Namespace) -> None:
    """A wire between the two: the pod is .1 and ::1, the world .2 and ::2 and the way to everywhere."""
    pod.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", str(world.holder.pid))
    for side, number in ((pod, 1), (world, 2)):
        side.run("ip", "link", "set", "eth0", "up")
        side.run("ip", "addr", "add", f"198.18.0.{number}/24", "dev", "eth0")
        side.run("ip", "-6", "addr", "add", f"fd00:5::{number}/64", "dev", "eth0", "nodad")
    pod.run("ip", "route", "add", "default", "via", "198.18.0.2")
    pod.run("ip", "-6", "route", "add", "default", "via", "fd00:5::2")
    world.run("ip", "addr", "add", "198.18.9.1/32", "dev", "lo")  # somebody else, further out
    world.run("ip", "-6", "addr", "add", "fd00:9::1/128", "dev", "lo")


def capture(pod: Namespace, *more: str) -> None:
    """The init container's work."""
    program = "import sys; from sidewinder_sidecar.main import main; sys.argv[0] = 'sidewinder-sidecar'; main()"
    pod.run(
        sys.executable, "-c", program, "capture", f"--uid={UID}",
        f"--inbound-port={INBOUND}", f"--outbound-port={OUTBOUND}", *more,
    )  # fmt: skip


# Another user may not read where Python lies: what the proxy needs is loaded before it becomes that user.
PROGRAM = f"""
import _strptime, encodings.ascii, encodings.idna, os, uvloop
import sidewinder_sidecar.filters.mtls, sidewinder_sidecar.identity.watched, sidewinder_sidecar.main.process
os.setgroups([]); os.setgid({UID}); os.setuid({UID})
from sidewinder_sidecar.main import main
main()
"""


@contextmanager
def proxy(pod: Namespace, folder: Path, snapshot: Snapshot, **settings: str) -> Iterator[Sidecar]:
    """The pod's sidecar, ready. `settings` are variables without their prefix."""
    with TemporaryDirectory() as shared:  # pytest's folders are its own user's alone
        Path(shared).chmod(0o755)
        file = Path(shared) / "snapshot.json"
        file.write_text(json.dumps(snapshot))
        environment = {f"SIDEWINDER_{name}": value for name, value in settings.items()}
        environment["SIDEWINDER_SNAPSHOT"] = str(file)
        inside = ("nsenter", f"--net={pod.path}", sys.executable, "-c", PROGRAM)
        running = Sidecar(folder, environment, inside)
        try:
            port = running.port("probe")
            running.wait(lambda: b" 200 " in get(pod.connect("127.0.0.1", port), b"/readyz"))
            yield running
        finally:
            running.process.kill()
            running.process.wait(10)


def get(connection: socket.socket, path: bytes, host: bytes = b"a") -> bytes:
    """One request on a connection that ends with its answer."""
    with connection:
        connection.sendall(b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (path, host))
        return b"".join(iter(lambda: connection.recv(65536), b""))
