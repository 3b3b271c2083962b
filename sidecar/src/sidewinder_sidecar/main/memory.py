"""Memory of the process: the collector's settings, and freed memory given back once connections have gone.

After a burst of 2 000 connections glibc keeps 60 MB of free lists; malloc_trim(0) gives them back (92 → 32 MB).
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable

# Exchanges hold no cycles, so what the collector finds is rare: look at little (2 000 objects are below
# 1 ms, 6 000 below 2), and almost never at everything, which takes 100 ms with 10 000 routes.
THRESHOLDS = (2_000, 2, 10_000)

# One read of uvloop is 256 KiB, more than glibc keeps in its heap at first: a large body would be mapped, faulted in
# and unmapped, read by read (90 page faults, 250 µs for 1 MB). Once a block this size was freed it keeps twice as much.
LARGE = 2 << 20

GONE = 200  # connections: 25 KB each is 5 MB, worth a millisecond of trimming


def tune() -> None:
    """Before anything else."""
    gc.set_threshold(*THRESHOLDS)
    bytes(LARGE)  # allocated and freed: glibc raises its own thresholds to this size


class Trimmer:
    """Asked once a second: has a crowd left?"""

    def __init__(self, connections: Callable[[], int], idle_seconds: float) -> None:
        self._connections = connections
        self._later = int(idle_seconds) + 2  # ticks until the upstream's pooled connections have gone as well
        self._again = 0
        self._peak = 0
        self.trimmed = 0

    def tick(self) -> None:
        """Trim when GONE connections and three quarters of the peak have gone, again when the pools are empty."""
        if self._again:
            self._again -= 1
            if not self._again:
                self._trim()
        count = self._connections()
        if count > self._peak:
            self._peak = count
        elif self._peak - count >= GONE and count * 4 <= self._peak:
            self._peak = count
            self._again = self._later
            self._trim()

    def _trim(self) -> None:
        self.trimmed += 1
        asyncio.get_running_loop().run_in_executor(None, trim)


def trim() -> None:
    """glibc only; elsewhere there is nothing to call."""
    import ctypes  # 1 MB that an idle sidecar never needs

    release = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if release is not None:
        release(0)


def resident() -> int:
    """Bytes of memory in use."""
    return _statm(1) * os.sysconf("SC_PAGESIZE")


def _statm(field: int) -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[field])
    except OSError:  # not Linux
        return 0


def descriptors() -> int:
    """Open files and sockets."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # the listing's own
    except OSError:
        return 0
