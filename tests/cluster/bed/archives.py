"""Image archives written without any image tool: one layer of given files. And the bed's own images.

Called by bed.py for what every bed needs, and by the bed's tests for the probe image; calls toolchain.py.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.cluster.bed import toolchain
from tests.cluster.bed.packages import location
from tests.cluster.bed.waiting import run

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Root's and without a time: the same files give the same image. deep=True would copy the archive each time."""
    return entry.replace(mode=0o755, uid=0, gid=0, uname="", gname="", mtime=0, deep=False)


def write(target: Path, name: str, files: Mapping[str, Path], config: Mapping[str, Any]) -> None:
    """An image `name` with these files ({path inside: file}) as a docker archive, which containerd imports."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as tar:
        for inside, source in files.items():
            tar.add(os.path.realpath(source), inside, recursive=False, filter=_plain)
    layer = memory.getvalue()
    about = {
        "architecture": ARCHITECTURES.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    parts = {
        "manifest.json": json.dumps(manifest).encode(),
        "config.json": json.dumps(about).encode(),
        "layer.tar": layer,
    }
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    with tarfile.open(unfinished, "w") as tar:
        for part, content in parts.items():
            entry = tarfile.TarInfo(part)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    unfinished.rename(target)


def _single(program: str) -> Path:
    """The image bed.local/PROGRAM:1 of one executable, kept beside it in the cache."""
    executable = toolchain.tool(program)
    target = executable.with_name(f"{executable.name}.tar")
    if not target.exists():
        write(target, f"bed.local/{program}:1", {program: executable}, {"Entrypoint": [f"/{program}"]})
    return target


def pause() -> Path:
    """What keeps a pod's namespaces."""
    return _single("pause")


def coredns() -> Path:
    return _single("coredns")


def probe() -> Path:
    """bed.local/probe:1, for the bed's own tests: the program probe, and nft with the libraries it loads."""
    executable, nft = toolchain.tool("probe"), Path(location("nft"))
    target = executable.with_name(f"{executable.name}.tar")
    if not target.exists():
        words = run("ldd", nft).split()
        libraries = [Path(word) for word in words if word.startswith("/")]
        files = {"probe": executable, "usr/sbin/nft": nft} | {str(path)[1:]: path for path in libraries}
        config = {"Entrypoint": ["/probe"], "Env": ["PATH=/usr/sbin:/usr/bin:/"]}
        write(target, "bed.local/probe:1", files, config)
    return target
