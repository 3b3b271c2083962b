"""What an image is made of, and the digest that says whether it has to be made again.

Called by catalog.py (the list of images), build.py and the tests; calls nothing. The digest covers exactly the files
that a build gets to see: build.py copies them, and only them, into the folder it builds in. An image's tag is its
digest, so a running cluster never meets two images under one name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# A registry that cannot exist (RFC 6761): an image that was not imported fails at once instead of asking the world.
REGISTRY = "sidewinder.test"
# Twelve hexadecimal digits: short enough to read, and a collision among some thousand builds is out of reach.
TAG_LENGTH = 12


@dataclasses.dataclass(frozen=True)
class Image:
    """One Dockerfile with the files it copies; patterns are relative to `context`."""

    name: str
    dockerfile: str
    inputs: tuple[str, ...]
    arguments: tuple[tuple[str, str], ...] = ()
    context: Path = ROOT

    def files(self) -> Iterator[tuple[str, Path]]:
        """The inputs by their name in the build's folder, in one order. Tests and bytecode are no inputs."""
        found: dict[str, Path] = {}
        for pattern in (self.dockerfile, *self.inputs):
            matches = {
                str(path.relative_to(self.context)): path for path in self.context.glob(pattern) if path.is_file()
            }
            if not matches:
                raise FileNotFoundError(f"image {self.name}: nothing matches {pattern} in {self.context}")
            found |= matches
        for name in sorted(found):
            if "__pycache__" not in name and not Path(name).name.startswith(("test_", "conftest.")):
                yield name, found[name]

    def digest(self, base: str) -> str:
        """A hash over the base's digest, the build arguments, and each file's name, mode and content."""
        total = hashlib.sha256(repr((base, self.name, self.dockerfile, self.arguments)).encode())
        for name, path in self.files():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            total.update(f"{name} {path.stat().st_mode & 0o100:o} {content}\n".encode())
        return total.hexdigest()

    def reference(self, base: str) -> str:
        """The full name under which nodes and registries know the image."""
        return f"{REGISTRY}/{self.name}:{self.digest(base)[:TAG_LENGTH]}"

    def stage(self, folder: Path) -> None:
        """Copy the inputs to where the build sees nothing else."""
        for name, path in self.files():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
            target.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)  # whatever the checkout's umask was
