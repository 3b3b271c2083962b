"""What a process used, and what wrk saw. Called by scenarios."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}


Pids = tuple[int, ...]  # a subject may be two processes: a hop out and a hop in


class Round(NamedTuple):
    """One load on one subject."""

    requests: int
    cpu_us: float  # the subject's CPU time per request
    memory_mb: float  # resident after the load
    p50_ms: float
    p99_ms: float

    def __str__(self) -> str:
        return (
            f"{self.cpu_us:8.1f} us CPU/request  {self.memory_mb:6.1f} MB  "
            f"p50 {self.p50_ms:.2f} ms  p99 {self.p99_ms:.2f} ms  {self.requests} requests"
        )


class Broken(Exception):
    """A load that did not get what it asked for measures nothing."""


def tree(pids: Pids) -> list[int]:
    """The processes and their children, at any depth."""
    found = [*pids]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def cpu_seconds(pids: Pids) -> float:
    """CPU time of the whole trees, by the kernel's nanosecond clock of each process (`clock_getcpuclockid(3)`)."""
    return sum(time.clock_gettime((~one << 3) | 2) for one in tree(pids))


def memory_mb(pids: Pids) -> float:
    """Resident memory of the whole trees."""
    total = 0
    for one in tree(pids):
        total += int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{one}/status").read_text())[1])  # type: ignore[index]
    return total / 1024


def wrk(url: str, pids: Pids, seconds: float, connections: int, *extra: str) -> Round:
    """A closed loop over `connections`; raises Broken when an answer was not what it should be."""
    # wrk takes whole seconds only
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
        "--timeout",
        "10s",
        "--latency",
        *extra,
        url,
    ]
    before = cpu_seconds(pids)
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    used = cpu_seconds(pids) - before
    requests = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]
    if requests == 0 or "Non-2xx" in text or re.search(r"connect [1-9]|read [1-9]|write [1-9]|timeout [1-9]", text):
        raise Broken(f"{' '.join(command)}\n{text}")
    return Round(requests, used / requests * 1e6, memory_mb(pids), quantile(text, "50%"), quantile(text, "99%"))


def quantile(text: str, name: str) -> float:
    """Milliseconds of a line of wrk's latency distribution."""
    number, unit = re.search(rf"{name}\s+([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr]
    return float(number) * MILLISECONDS[unit]
