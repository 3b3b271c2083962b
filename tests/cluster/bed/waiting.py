"""Running a command and waiting for a condition, with errors that tell what failed and why.

Called by every module of the test bed, inside a node and outside; calls only the standard library.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable

Say = Callable[[str], object]


def aloud(line: str) -> None:
    """Progress that belongs to no result."""
    print(line, file=sys.stderr, flush=True)


class BedError(Exception):
    """Something about the bed is wrong; the message says what, where, and what would help."""


def run(*command: object, text: str | None = None, seconds: float = 120) -> str:
    """The command's output; if it fails, its last words are the error."""
    words = [str(word) for word in command]
    # Root's programs too, where root has come by `su` without their folders on the path.
    environment = os.environ | {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    done = subprocess.run(
        words, input=text, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode:
        reason = done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}"
        raise BedError(f"{' '.join(words)}: {reason}")
    return done.stdout


def until(what: str, check: Callable[[], object], seconds: float, pause: float = 0.05) -> None:
    """Return when check() is true; what fails for being too early (no socket, no object yet) counts as not yet."""
    end, last = time.monotonic() + seconds, ""
    while time.monotonic() < end:
        try:
            if check():
                return
        except (OSError, ValueError, LookupError, http.client.HTTPException) as error:
            last = f" ({type(error).__name__}: {error})"
        time.sleep(pause)
    raise BedError(f"{what}: not within {seconds} s{last}")


def started(pid: int) -> str | None:
    """When the process began, in the kernel's ticks: with the pid it names one process for ever. None: it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]
