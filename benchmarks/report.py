"""Rows to a table, on the screen and in README.md. Called by bench."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import date
from pathlib import Path

import subjects

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def table(rows: list[dict[str, object]]) -> str:
    """A Markdown table: CPU with its spread and its share of Envoy's, memory, latency."""
    lines = [
        "| scenario | subject | CPU µs/request (min–max) | of Envoy's | memory MB | of Envoy's | p50 ms | p99 ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    peers = {row["scenario"]: row for row in rows if row["subject"] == "envoy"}
    for row in rows:
        peer = peers.get(row["scenario"])
        spread: list[float] = row["rounds"]  # type: ignore[assignment]
        lines.append(
            f"| {row['scenario']} | {row['subject']} | {row['cpu_us_per_request']} ({min(spread)}–{max(spread)}) "
            f"| {share(row, peer, 'cpu_us_per_request')} | {row['memory_mb']} | {share(row, peer, 'memory_mb')} "
            f"| {row['p50_ms']} | {row['p99_ms']} |"
        )
    return "\n".join(lines)


def share(row: dict[str, object], peer: dict[str, object] | None, key: str) -> str:
    """Of Envoy's figure in the same run."""
    return f"{row[key] / peer[key]:.2f}" if peer else "–"  # type: ignore[operator]


def machine() -> str:
    """What it ran on: the versions measured, the processor, the kernel."""
    code = "import sys, uvloop, httptools; print(sys.version.split()[0], uvloop.__version__, httptools.__version__)"
    python, uvloop, httptools = first_line([str(subjects.PYTHON), "-c", code]).split()
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    versions = {
        "Sidewinder": form(),
        "CPython": f"{python} ({interpreter()}), uvloop {uvloop}, httptools {httptools}",
        "Envoy": number(first_line([subjects.envoy() or "envoy", "--version"])),
        "nginx": number(first_line(["nginx", "-v"])),
        "HAProxy": number(first_line(["haproxy", "-v"])),
    }
    told = "; ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{date.today()}, {os.cpu_count()} cores of {cpu[1] if cpu else 'unknown'}, Linux {platform.release()}. {told}."
    )


def interpreter() -> str:
    """Whether the interpreter measured is an optimised build, as the image's is."""
    return (
        "Debian's optimised build"
        if os.path.realpath(subjects.PYTHON).startswith("/usr/bin")
        else "this machine's build"
    )


def form() -> str:
    """Whether the data path is compiled, as it ships."""
    code = "from sidewinder_sidecar import exchange; print(exchange.__file__)"
    return (
        "with its data path compiled"
        if first_line([str(subjects.PYTHON), "-c", code]).endswith(".so")
        else "as pure Python"
    )


def first_line(command: list[str]) -> str:
    """What a program says of itself."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=20, env={**os.environ, "PATH": subjects.path()}
    )
    return next((line for line in (done.stdout + done.stderr).splitlines() if line.strip()), "unknown")


def number(text: str) -> str:
    """The first version number in a text."""
    found = re.search(r"\d+\.\d+\.\d+", text)
    return found[0] if found else text


def keep(readme: Path, rows: list[dict[str, object]]) -> None:
    """Put the table in its place."""
    text = readme.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n{machine()}\n\n{table(rows)}\n{END}{after}")
