"""An empty tree that runs Python: interpreter, standard library, a virtual environment, and the libraries they load.

`python3 rootfs.py DEST PATH...`, called by both Dockerfiles inside their build stage. What is not in the list of
programs to run is not in the image, so there is nothing to find for somebody who gets in.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

UID = 65533  # of its own: 65532 is what other images run as, and the redirect rules let this uid's traffic pass
# Parts of the standard library that no server runs.
SKIPPED_PACKAGES = {
    "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data", "venv",
    "__pycache__", "site-packages", "dist-packages",
}  # fmt: skip
SKIPPED_EXTENSIONS = ("_dbm", "_gdbm", "_sqlite3", "readline", "_curses", "_tkinter", "_test", "_xxtest", "xxlimited")
CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/openssl.cnf", "/usr/lib/ssl", "/etc/protocols")
LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")


class Tree:
    """Copies files to the same place under `target`, keeping links and the directories that are links themselves."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.copied: set[Path] = set()

    def file(self, path: Path) -> None:
        """One file, or a link and what it leads to."""
        place = Path(os.path.realpath(path.parent)) / path.name
        if place in self.copied or unwanted(place):
            return
        self.copied.add(place)
        copy = self.target / place.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink():
            copy.symlink_to(os.readlink(place))
            self.file(place.parent / os.readlink(place))
        elif place.is_file():
            shutil.copy2(place, copy)

    def folder(self, path: Path, skipped: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        """A folder and all below it but for the names to skip."""
        for root, folders, files in os.walk(path):
            folders[:] = [name for name in folders if name not in skipped and not name.startswith("config-")]
            links = [name for name in folders if (Path(root) / name).is_symlink()]
            for name in (*links, *files):
                self.file(Path(root) / name)

    def anything(self, path: Path) -> None:
        """A file or a folder; what is not there is passed over."""
        if path.is_dir() and not path.is_symlink():
            self.folder(path)
        elif os.path.lexists(path):
            self.file(path)


def unwanted(path: Path) -> bool:
    """An extension module that no server loads, with the libraries it would bring."""
    return "lib-dynload" in path.parts and path.name.startswith(SKIPPED_EXTENSIONS)


def interpreter(tree: Tree) -> None:
    """The interpreter under its names, and its standard library."""
    program = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
    for name in (program.name, "python3", "python"):
        tree.anything(program.parent / name)
    tree.folder(Path(sysconfig.get_path("stdlib")), SKIPPED_PACKAGES)


def libraries(target: Path) -> Iterator[Path]:
    """What the dynamic linker would load for everything in the tree. Ends the build if something is missing."""
    for path in [path for path in target.rglob("*") if path.is_file() and not path.is_symlink()]:
        with path.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                continue
        listed = subprocess.run(["ldd", "/" + str(path.relative_to(target))], capture_output=True, text=True).stdout
        if "not found" in listed:
            sys.exit(f"{path}: a shared library is missing\n{listed}")
        yield from (Path(found) for found in LIBRARY.findall(listed))


def usr_merge(target: Path) -> None:
    """/bin, /lib and the like as links, where the base has them so."""
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path("/", name).is_symlink():
            (target / "usr" / name).mkdir(parents=True, exist_ok=True)
            (target / name).symlink_to(os.readlink(f"/{name}"))


def system(target: Path) -> None:
    """What libc reads: two users without a shell, how names are resolved, the linker's cache, empty mount points."""
    etc = target / "etc"
    etc.mkdir(parents=True, exist_ok=True)
    (etc / "passwd").write_text(f"root:x:0:0:root:/:/sbin/nologin\nsidewinder:x:{UID}:{UID}::/:/sbin/nologin\n")
    (etc / "group").write_text(f"root:x:0:\nsidewinder:x:{UID}:\n")
    (etc / "nsswitch.conf").write_text("hosts: files dns\n")
    for name in ("ld.so.conf", "ld.so.conf.d"):
        source = Path("/etc", name)
        if source.is_dir():
            shutil.copytree(source, etc / name, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy(source, etc / name)
    subprocess.run(["ldconfig", "-r", str(target)], check=True)
    for name in ("tmp", "proc", "sys", "dev", "run", "var/run"):
        (target / name).mkdir(parents=True, exist_ok=True)
    (target / "tmp").chmod(0o1777)


def main() -> None:
    """Fill DEST."""
    target = Path(sys.argv[1])
    tree = Tree(target)
    usr_merge(target)
    interpreter(tree)
    for path in sys.argv[2:]:
        tree.anything(Path(path))
    for path in [*libraries(target)]:
        tree.file(path)
    for path in CERTIFICATES:
        tree.anything(Path(path))
    system(target)


if __name__ == "__main__":
    main()
