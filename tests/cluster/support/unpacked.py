"""An image's archive unpacked into a folder, and a program of it run there: what a container is, without a cluster.

Called by the tests of the images. The program sees only the image's files, as the image's user, and may write nowhere.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Unpacked(NamedTuple):
    """The files of all layers, and how the image wants to be run."""

    root: Path
    size: int  # bytes, uncompressed, as a node keeps them
    config: Mapping[str, Any]

    def start(self, *words: str, environment: Mapping[str, str], **options: Any) -> subprocess.Popen[bytes]:
        """The image's entrypoint with these words, as its user."""
        user, _, group = self.config["User"].partition(":")
        own = dict(each.split("=", 1) for each in self.config["Env"])

        def enter() -> None:
            os.chroot(self.root)
            os.chdir("/")
            os.setgroups([])
            os.setgid(int(group))
            os.setuid(int(user))  # last: afterwards nothing above is allowed

        command = [*self.config["Entrypoint"], *words]
        return subprocess.Popen(command, env=own | environment, preexec_fn=enter, start_new_session=True, **options)


def unpack(archive: Path, root: Path) -> Unpacked:
    """An OCI archive of one platform."""
    size = 0
    root.mkdir(exist_ok=True)
    root.chmod(0o755)  # the image's user looks into it
    with tarfile.open(archive) as outer:

        def blob(descriptor: Mapping[str, Any]) -> Any:
            found = outer.extractfile(f"blobs/{descriptor['digest'].replace(':', '/')}")
            assert found is not None
            return found

        index = outer.extractfile("index.json")
        assert index is not None
        manifest = json.load(blob(json.load(index)["manifests"][0]))
        for layer in manifest["layers"]:
            packed = blob(layer)
            with gzip.open(packed) if layer["mediaType"].endswith("gzip") else packed as plain:
                inner = tarfile.open(fileobj=plain, mode="r|")  # noqa: SIM115 (the stream is closed with its file)
                for member in inner:
                    size += member.size
                    inner.extract(member, root, filter="fully_trusted")
        config = json.load(blob(manifest["config"]))["config"]
    return Unpacked(root, size, config)
