"""The last to leave: ends every process group of a `sidewinder up` that died without doing so itself. Run by
`children`.

It reads `+<group>` and `-<group>` lines from a pipe whose other end `up` (and each child until it runs its program)
holds. The end of that pipe means that `up` is gone, however it went: SIGKILL too. Then the groups that are left get
SIGTERM, a moment, and SIGKILL, and the folder with the sockets is removed. Standard library only: it starts in 10 ms.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable

MOMENT = 1.5  # seconds between SIGTERM and SIGKILL: nobody waits for an answer any more


def signalled(groups: Iterable[int], number: int) -> set[int]:
    """Sends a signal to each group; returns those that were there."""
    found = set()
    for group in groups:
        try:
            os.killpg(group, number)
            found.add(group)
        except ProcessLookupError:
            continue
        except PermissionError:  # the number belongs to somebody else by now
            continue
    return found


def listen(pipe: int) -> set[int]:
    """Follows the pipe to its end; returns the groups that were not taken back."""
    groups: set[int] = set()
    rest = b""
    while chunk := os.read(pipe, 65536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            group = int(line[1:])
            if line.startswith(b"+"):
                groups.add(group)
            else:
                groups.discard(group)
    return groups


def end(groups: set[int]) -> None:
    """SIGTERM, a moment, SIGKILL."""
    left = signalled(groups, signal.SIGTERM)
    until = time.monotonic() + MOMENT
    while left and time.monotonic() < until:
        time.sleep(0.02)
        left = signalled(left, 0)
    signalled(left, signal.SIGKILL)


def main(folder: str) -> None:
    """Waits for the end of standard input, then clears up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end(listen(0))
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
