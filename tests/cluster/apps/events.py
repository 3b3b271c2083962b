"""A line in a file for each event in a container's life, so that tests see the order across containers.

Called by echo.py and by preStop hooks (`say`); calls nothing. Each line is one write to a file opened for appending, so
containers of a pod that share a volume never mix their lines. CLOCK_MONOTONIC is the node's, the same for all of them.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path


def record(what: str, file: str = "") -> str:
    """Append to the file (or the one in EVENTS) and return the line; without a file it is only returned."""
    line = json.dumps({"at": round(time.monotonic(), 4), "who": os.environ.get("NAME", ""), "what": what})
    name = file or os.environ.get("EVENTS", "")
    if name:
        with Path(name).open("a", buffering=1) as log:
            log.write(line + "\n")
    return line


def say(first: str, seconds: float = 0, last: str = "") -> None:
    """One event, and after a while perhaps another: what a preStop hook does."""
    print(record(first), flush=True)
    if last:
        time.sleep(seconds)
        print(record(last), flush=True)
