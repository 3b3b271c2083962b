"""Memory of the process: what is freed goes back to the system. `tune` is called first, then `freeze`; `Trimmer` runs
for ever.

A replica has many short bursts: a turn over the whole cluster, two thousand handshakes when another replica goes. What
they leave in glibc's free lists would be the replica's size for good. The figures are in `benchmarks/README.md`.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from collections.abc import Callable
from types import ModuleType
from typing import cast

# uvloop keeps 256 KB for the reads of each TLS connection, of which a stream touches one page. Mapped by itself that is
# what it costs; in the heap it lies on pages that others have used, and counts in full. glibc would stop to map such
# blocks with the first that is freed: a threshold that is set stays.
MAPPED = 128 << 10
ARENAS = 2  # else a heap for each thread of the executor
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h

# kopf loads any of these that is installed, to log in with it, which we do ourselves. The first alone is 14 MB.
UNUSED = ("kubernetes", "kubernetes_asyncio", "pykube")

LOOK_SECONDS = 10.0


def tune() -> None:
    """Before anything else. The allocator's options are glibc's; elsewhere there is nothing to call."""
    for name in UNUSED:
        sys.modules.setdefault(name, cast(ModuleType, None))  # as if it were not installed
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        for option, value in ((_M_MMAP_THRESHOLD, MAPPED), (_M_TRIM_THRESHOLD, MAPPED), (_M_ARENA_MAX, ARENAS)):
            set_option(option, value)


def freeze() -> None:
    """Once everything is imported: the collector looks at none of it again, 30 ms of every full look."""
    gc.collect()
    gc.freeze()


class Trimmer:
    """`done` counts what leaves something behind: turns, connections. Looked at every few seconds."""

    def __init__(self, done: Callable[[], int]) -> None:
        self._done = done
        self._seen = 0
        self.trimmed = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Where something was done since the last time: in a thread, which takes no part of the interpreter."""
        done = self._done()
        if done != self._seen:
            self._seen = done
            self.trimmed += 1
            await asyncio.to_thread(trim)


def trim() -> None:
    """Gives back every free page; some milliseconds."""
    release = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if release is not None:
        release(0)
