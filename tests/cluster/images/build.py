"""Images from Dockerfiles: made when their inputs changed, found in the cache otherwise.

Called by the command line (__main__.py), the fixtures of tests/cluster and `make images`; calls mmdebstrap for the
base, buildah for the rest; on kind, the container engine for all. One build runs at a time on a machine.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.cluster.bed import packages

from . import debian, machine
from .recipe import REGISTRY, Image
from .store import Store

# Of each image: the one in use, the one before (two branches), and one to spare.
KEPT = 3
# The compiler takes four minutes of one core for the data path; beside other work ten were not enough. 25 are a hang.
LIMIT = 1500


# What a build needs, and the Debian package that has it.
PACKAGES = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", debian.KEYRING: "debian-archive-keyring"}


class BuildError(Exception):
    """A build went wrong; the message ends with what the program said last."""


class Engine(Protocol):
    """docker or podman, as tests/cluster/kind/engine.py composes their commands."""

    def build(
        self, reference: str, dockerfile: Path, arguments: Mapping[str, str], secrets: list[str]
    ) -> list[str]: ...
    def save(self, reference: str, archive: Path) -> list[str]: ...


@dataclasses.dataclass(frozen=True)
class Built:
    """An image that nodes can import: its name, its archive, and what it cost now."""

    reference: str
    archive: Path
    seconds: float


def run(command: list[str], folder: Path | None = None) -> str:
    """The program's output; if it fails, its last lines are the error."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"  # mmdebstrap calls mmtarfilter by name
    environment = os.environ | {"PATH": path}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
        raise BuildError(f"{command[0]} ended with status {done.returncode}\n{' '.join(command)}\n{last}")
    return done.stdout.strip()


@contextmanager
def alone(store: Store) -> Iterator[None]:
    """Whoever comes second waits, and then finds the work done."""
    store.folder.mkdir(parents=True, exist_ok=True)
    with (store.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def known_base(store: Store) -> str:
    """The id of the base image in the store, or nothing if it was never made, went away, or is made differently now."""
    try:
        saved = json.loads((store.folder / "base.json").read_text())
    except FileNotFoundError:
        return ""
    listed = subprocess.run(
        store.buildah("images", "--no-trunc", "--quiet", debian.NAME), capture_output=True, text=True, check=False
    )
    same = saved["digest"] == debian.digest() and saved["id"] in listed.stdout
    return str(saved["id"]) if same else ""


def make_base(store: Store) -> str:
    """Debian by mmdebstrap, into the store under the official name; its id."""
    layer = store.folder / "base.tar"
    subprocess.run(store.buildah("rm", "sidewinder-base"), capture_output=True, check=False)  # of a run that was killed
    try:
        run(debian.bootstrap_command(layer))
        said = [run(command) for command in store.base(debian.NAME, layer, debian.ENVIRONMENT)]
    finally:
        layer.unlink(missing_ok=True)
    (store.folder / "base.json").write_text(json.dumps({"digest": debian.digest(), "id": said[-1]}))
    return said[-1]


def prune(store: Store, image: Image) -> None:
    """Remove all but the newest archives of the image, and what the store holds of them."""
    archives = sorted(store.folder.glob(f"{image.name}-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in archives[KEPT:]:
        tag = old.stem.removeprefix(f"{image.name}-")
        subprocess.run(store.buildah("rmi", f"{REGISTRY}/{image.name}:{tag}"), capture_output=True, check=False)
        old.unlink()


@contextmanager
def staged(image: Image) -> Iterator[tuple[Path, list[str]]]:
    """A folder with the image's inputs, and the arguments for the machine's settings; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="sidewinder-build-") as name, machine.secrets() as secrets:
        image.stage(Path(name))
        yield Path(name), secrets


def make(store: Store, image: Image, reference: str) -> None:
    """Build and export, under a name that is the archive's only when it is whole."""
    arguments = {"BASE": debian.NAME} | dict(image.arguments)
    with staged(image) as (folder, secrets):
        run(store.build(reference, folder / image.dockerfile, arguments, secrets), folder)
    unfinished = store.archive(reference).with_suffix(".new")
    unfinished.unlink(missing_ok=True)  # buildah would add to it
    run(store.export(reference, unfinished))
    unfinished.rename(store.archive(reference))


def build(image: Image, store: Store | None = None, *, fresh: bool = False) -> Built:
    """The image as an archive: from the cache if it was made of the same inputs before."""
    packages.ensure(PACKAGES)
    place, begin = store or Store.here(), time.monotonic()
    with alone(place):
        beneath = "" if fresh else known_base(place)
        beneath = beneath or make_base(place)
        reference = image.reference(beneath)
        if not place.archive(reference).exists():
            make(place, image, reference)
            prune(place, image)
    return Built(reference, place.archive(reference), time.monotonic() - begin)


def build_with(engine: Engine, image: Image, store: Store | None = None) -> Built:
    """The same by a container engine, where one runs: it pulls the official base, and its name is all we know of it."""
    place, begin = store or Store.here(), time.monotonic()
    reference = image.reference(debian.NAME)
    archive = place.archive(reference)
    with alone(place):
        if not archive.exists():
            with staged(image) as (folder, secrets):
                dockerfile = folder / image.dockerfile
                run(engine.build(reference, dockerfile, dict(image.arguments), secrets), folder)
            unfinished = archive.with_suffix(".new")
            unfinished.unlink(missing_ok=True)
            run(engine.save(reference, unfinished))
            unfinished.rename(archive)
            prune(place, image)
    return Built(reference, archive, time.monotonic() - begin)
