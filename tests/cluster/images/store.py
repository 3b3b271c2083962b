"""Buildah's command lines, and where its images live: in the user's cache, apart from any other buildah or podman.

Called by build.py; calls toolchain.py for the cache's place. What is decided here is decided without running
anything, so tests read it as data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.bed import toolchain

# Every file of a layer gets this date, so that the same inputs give the same image; any fixed one would do.
EPOCH = "1700000000"


def driver(folder: Path, mounts: str) -> str:
    """overlay where the kernel can stack on this folder's file system; on an overlay it cannot, and copies instead."""
    kinds = {}
    for line in mounts.splitlines():
        _, where, kind, *_ = line.split()
        kinds[where] = kind
    closest = next((kinds[str(place)] for place in (folder, *folder.parents) if str(place) in kinds), "")
    return "vfs" if closest == "overlay" else "overlay"


@dataclasses.dataclass(frozen=True)
class Store:
    """One folder with the images, the archives made of them, and the lock that keeps two builds apart."""

    folder: Path
    driver: str = "overlay"

    @classmethod
    def here(cls) -> Store:
        folder = toolchain.cache().parent / "images"
        return cls(folder, driver(folder, Path("/proc/self/mounts").read_text()))

    def buildah(self, *words: str) -> list[str]:
        # The run root holds mounts: /run is empty after a reboot, as they are.
        places = ["--root", str(self.folder / "store"), "--runroot", "/run/sidewinder-images"]
        return ["buildah", *places, "--storage-driver", self.driver, *words]

    def archive(self, reference: str) -> Path:
        return self.folder / (reference.rpartition("/")[2].replace(":", "-") + ".tar")

    def build(self, reference: str, dockerfile: Path, arguments: Mapping[str, str], secrets: list[str]) -> list[str]:
        """chroot isolation needs neither a network of its own nor a runtime; layers make the second build short."""
        given = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        how = ["--isolation", "chroot", "--network", "host", "--layers", "--timestamp", EPOCH, "--pull-never"]
        where = ["--file", str(dockerfile), "--tag", reference, "."]
        return self.buildah("bud", "--quiet", *how, *secrets, *given, *where)

    def export(self, reference: str, target: Path) -> list[str]:
        """An archive that keeps the full name: containerd calls anything less `import-<date>`.

        Its layers are compressed: a node imports and unpacks 50 MB in half the time that 130 MB take.
        """
        return self.buildah("push", "--quiet", reference, f"oci-archive:{target}:{reference}")

    def push(self, reference: str, registry: str) -> list[str]:
        """To a registry on this machine, which speaks plain HTTP."""
        path = reference.partition("/")[2]
        return self.buildah("push", "--quiet", "--tls-verify=false", reference, f"docker://{registry}/{path}")

    def base(self, name: str, layer: Path, environment: tuple[str, ...]) -> list[list[str]]:
        """The commands that make an image of one layer. `buildah from` prints the container they all name."""
        container = "sidewinder-base"
        settings = [word for setting in environment for word in ("--env", setting)]
        return [
            self.buildah("from", "--name", container, "scratch"),
            self.buildah("add", "--quiet", container, str(layer), "/"),
            self.buildah("config", *settings, "--cmd", "python3", container),
            self.buildah("commit", "--quiet", "--rm", "--timestamp", EPOCH, container, name),
        ]
