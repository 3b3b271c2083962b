"""The last lines of a log, for errors.

Called by the supervisor when a component ends and by whoever reports a failure; calls nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

LINES = 15
WIDTH = 300  # of one line: programs print their whole configuration in a single one


def last_lines(log: Path) -> list[str]:
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.path.getsize(log) - 20_000))  # enough for so many long lines
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ["(there is no such file)"]
    return [line[:WIDTH] for line in lines[-LINES:]]


def tail(log: Path) -> str:
    return "\n".join([f"last lines of {log}:", *last_lines(log)])
