"""Programs built from Go modules by the Go client, once, into the user's cache folder.

Called by bed.py and by whoever needs one of the programs (`tool("helm")`) or has a Go program of its own to compile
(`compile_program`); calls `go build`. The modules lie in go/, with versions pinned in go.mod and hashes in go.sum. A
program is built again when Go's version, the flags or a file of its module changes.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from tests.cluster.bed.waiting import BedError, Say, aloud, run

MODULES = Path(__file__).with_name("go")
KEPT = 3  # builds of one program: this one, and those of other branches that are worked on
_VERSION = {"gitVersion": "v1.36.3", "gitMajor": "1", "gitMinor": "36", "gitTreeState": "clean"}
_STAMP = " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in _VERSION.items())


class Program(NamedTuple):
    """A module below go/, the package in it, and further flags for the linker."""

    module: str
    package: str
    link: str = ""


PROGRAMS = {
    "kubernetes": Program("kubernetes", ".", _STAMP),
    "metrics-server": Program("tools", "sigs.k8s.io/metrics-server/cmd/metrics-server"),
    "coredns": Program("tools", "github.com/coredns/coredns"),
    "helm": Program("tools", "helm.sh/helm/v4/cmd/helm"),
    "crane": Program("tools", "github.com/google/go-containerregistry/cmd/crane"),
    "pause": Program("small", "./pause"),
    "six": Program("small", "./six"),
    "probe": Program("small", "./probe"),
}


def cache() -> Path:
    """The project's folder in the user's cache, made when it is not there."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "sidewinder" / "testbed"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@functools.cache
def _go() -> str:
    """The Go client's version, which is part of what a build depends on."""
    if shutil.which("go") is None:
        raise BedError("the Go client is not installed (package golang-go, or a release); needed: 1.26 or newer")
    return run("go", "version").strip()


def _key(module: Path, *flags: str) -> str:
    """Of everything that goes into a build."""
    digest = hashlib.sha256("\0".join((_go(), *flags)).encode())
    for path in sorted(module.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(module)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def tool(name: str, say: Say = aloud) -> Path:
    """One of PROGRAMS, built if it is not there yet."""
    program = PROGRAMS[name]
    return compile_program(MODULES / program.module, program.package, name, program.link, say)


def built(name: str) -> bool:
    """Whether `tool` would answer at once."""
    program = PROGRAMS[name]
    return _target(MODULES / program.module, program.package, name, program.link).exists()


def _target(module: Path, package: str, name: str, link: str) -> Path:
    return cache() / f"{name}-{_key(module, package, link)}"


def compile_program(module: Path, package: str, name: str, link: str = "", say: Say = aloud) -> Path:
    """The static executable of a package of the Go module in this folder."""
    target = _target(module, package, name, link)
    if target.exists():
        os.utime(target)  # used: not among the oldest, which are thrown away
        return target
    with open(cache() / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # somebody else may be building it: then it is there when we get the lock
        if not target.exists():
            say(f"building {name} from {module}")
            begin = time.monotonic()
            _build(module, package, target, link)
            say(f"built {target}: {time.monotonic() - begin:.0f} s")
            _prune(name, target)
    return target


def _build(module: Path, package: str, target: Path, link: str) -> None:
    unfinished = target.with_name(f".{target.name}")
    flags = ["-mod=readonly", "-trimpath", f"-ldflags=-s -w {link}", "-o", str(unfinished)]
    done = subprocess.run(
        ["nice", "go", "build", *flags, package],
        cwd=module,
        env=os.environ | {"CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BedError(f"go build {package} in {module}: {done.stderr.strip()[-3000:]}")
    unfinished.rename(target)


def _prune(name: str, target: Path) -> None:
    """Names are NAME-KEY with a key of twelve digits, so that `kube` does not throw `kube-x` away."""
    others = [path for path in cache().glob(f"{name}-" + "[0-9a-f]" * 12) if path != target]
    for old in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT - 1 :]:
        old.unlink()
        old.with_name(f"{old.name}.tar").unlink(missing_ok=True)  # the image of it
