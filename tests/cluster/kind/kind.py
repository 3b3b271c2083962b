"""The same cluster on kind, for machines where docker or podman runs.

    CLUSTER=kind CLUSTER_VERSION=1.31 make test-cluster

Called by tests/cluster/support/cluster.py; calls kind (built from its Go module), the engine, and kubectl, helm and
crane of the test bed's toolchain. `Kind` has the attributes of the bed's `Bed` that tests use; faults of components
it has not.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.cluster.bed import toolchain
from tests.cluster.bed.waiting import BedError, run

from . import configuration
from .engine import Engine, addresses, find

LIMIT = 600  # seconds for `kind create`, which may have to pull a node image of 400 MB


class KindNode:
    """A container that is a node."""

    def __init__(self, engine: Engine, name: str, address: str) -> None:
        self._engine, self.name, self.address = engine, name, address

    def command(self, *command: str) -> list[str]:
        return self._engine.execute(self.name, *command)

    def run(self, *command: str) -> str:
        return run(*self.command(*command))


class Kind:
    """A cluster that runs, or did."""

    def __init__(self, engine: Engine, program: Path, name: str, directory: Path) -> None:
        self._engine, self._program, self.name, self.directory = engine, program, name, directory
        self.bin = directory / "bin"
        self.kubeconfig = directory / "kubeconfig"
        self.nodes: list[KindNode] = []
        self.host = ""

    def environment(self) -> dict[str, str]:
        path = f"{self.bin}:{os.environ.get('PATH', '')}"
        return os.environ | {"KUBECONFIG": str(self.kubeconfig), "PATH": path} | self._engine.environment()

    def kubectl(self, *arguments: object, text: str | None = None, seconds: float = 120) -> str:
        return run(self.bin / "kubectl", f"--kubeconfig={self.kubeconfig}", *arguments, text=text, seconds=seconds)

    def load(self, *images: Path | str) -> None:
        for image in images:
            self._kind(configuration.load(self._program, self.name, Path(image)))

    def trust_registry(self, registry: str) -> None:
        path, content = configuration.trust(registry)
        for node in self.nodes:
            node.run("sh", "-c", 'mkdir -p "$(dirname "$0")" && printf %s "$1" > "$0"', path, content)

    def deaths(self) -> list[str]:
        """kind restarts what ends and tells nobody; its pods in kube-system show it."""
        return []

    def stop(self) -> None:
        self._kind(configuration.delete(self._program, self.name, self.kubeconfig))

    def up(self, count: int, version: str) -> None:
        wanted = self.directory / "kind.yaml"
        wanted.write_text(configuration.render(count, version, dual=Path("/proc/sys/net/ipv6").is_dir()))
        self._kind(configuration.create(self._program, self.name, wanted, self.kubeconfig))
        listed = self.kubectl("get", "nodes", "--output=jsonpath={.items[*].metadata.name}")
        for name in sorted(listed.split()):
            address, self.host = addresses(run(*self._engine.inspect(name)))
            self.nodes.append(KindNode(self._engine, name, address))

    def _kind(self, command: list[str]) -> str:
        done = subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, timeout=LIMIT, check=False
        )
        if done.returncode:
            raise BedError(f"{' '.join(command)}\n{done.stderr[-3000:]}")
        return done.stdout


def impediment() -> str | None:
    """Why kind cannot run here: what is missing and what would help."""
    engine, reason = find()
    if engine is None:
        return f"no container engine: {reason}"
    return None if os.access(toolchain.cache(), os.W_OK) else f"{toolchain.cache()} is not writable"


def program() -> Path:
    """kind itself, in the cache folder by its version."""
    target = toolchain.cache() / f"kind-{configuration.VERSION}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=toolchain.cache()) as folder:
            command = ["go", "install", "-trimpath", f"{configuration.MODULE}@{configuration.VERSION}"]
            environment = os.environ | {"GOBIN": folder, "CGO_ENABLED": "0"}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
            if done.returncode:
                raise BedError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
            Path(folder, "kind").rename(target)
    return target


def start(count: int, *, version: str = "", say: Callable[[str], object] = print) -> Kind:
    """A new cluster, ready to be used. What an earlier run left under the same name is removed first."""
    engine, reason = find()
    if engine is None:
        raise BedError(f"no container engine: {reason}")
    begin, directory = time.monotonic(), Path(tempfile.mkdtemp(prefix="sidewinder-kind-"))
    (directory / "bin").mkdir()
    for name, tool in (("kubectl", "kubernetes"), ("helm", "helm"), ("crane", "crane")):
        (directory / "bin" / name).symlink_to(toolchain.tool(tool))
    cluster = Kind(engine, program(), configuration.NAME, directory)
    cluster.stop()
    try:
        cluster.up(count, version)
    except BaseException:
        with contextlib.suppress(BedError):
            cluster.stop()
        raise
    say(f"kind, {count} nodes{f' of {version}' if version else ''}: {time.monotonic() - begin:.1f} s")
    return cluster
