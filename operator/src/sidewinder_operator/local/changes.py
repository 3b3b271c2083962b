"""Sees files change by looking often: no thread, no library, the same on every system, whatever an editor does to a
file.

A look at 100 files costs under a millisecond. Editors write a file in pieces or put another in its place: what
changed is told once it has kept still for one more look. A file that has become empty is one whose writer is on the way
more often than one that somebody emptied, and believing it would drop its routes: it has to keep still for longer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import TypeAlias

from sidewinder_operator.local.files import SUFFIXES

LOOK_SECONDS = 0.1  # a change is seen after 0.1–0.2 s and live well within the second promised
EMPTY_LOOKS = 7  # a disk that is written to by others has held a writer for 300 ms between truncating and writing

Look: TypeAlias = dict[str, tuple[int, int, int]]  # path → (inode, size, time of change in ns)


def look(paths: Iterable[Path]) -> Look:
    """All manifests in these files and folders, as they are now; the same ones that `files` reads."""
    seen: Look = {}
    for path in paths:
        try:
            if path.is_dir():
                with os.scandir(path) as entries:
                    names = [e.path for e in entries if e.name.endswith(SUFFIXES) and not e.name.startswith(".")]
            else:
                names = [str(path)]
        except OSError:  # gone between asking and listing
            continue
        for name in names:
            _see(seen, name)
    return seen


async def changes(paths: Iterable[Path], seconds: float = LOOK_SECONDS) -> AsyncIterator[None]:
    """Yields whenever a manifest has changed, appeared or gone, and all have kept still since."""
    paths = tuple(paths)
    told = before = look(paths)
    still = 0  # looks since the last change
    while True:
        await asyncio.sleep(seconds)
        now = look(paths)
        still = still + 1 if now == before else 0
        if now != told and still >= (EMPTY_LOOKS if _emptied(told, now) else 1):
            told = now
            yield
        before = now


def _emptied(told: Look, now: Look) -> bool:
    return any(size == 0 and told.get(path, (0, 0, 0))[1] != 0 for path, (_, size, _) in now.items())


def _see(seen: Look, path: str) -> None:
    try:
        status = os.stat(path)
    except OSError:  # gone between listing and looking
        return
    seen[path] = (status.st_ino, status.st_size, status.st_mtime_ns)
