"""The container engine: which one runs, and what it is asked.

Called by kind.py; calls docker or podman.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

# In the order in which kind looks for them.
PROGRAMS = ("docker", "podman")
LIMIT = 10  # seconds: `info` of an engine that runs takes one


@dataclasses.dataclass(frozen=True)
class Engine:
    """One container engine, by the name of its program."""

    program: str

    def execute(self, node: str, *command: str) -> list[str]:
        return [self.program, "exec", "--interactive", node, *command]

    def inspect(self, node: str) -> list[str]:
        return [self.program, "inspect", "--format", "{{json .NetworkSettings.Networks}}", node]

    def build(self, reference: str, dockerfile: Path, arguments: Mapping[str, str], secrets: list[str]) -> list[str]:
        """Without a base of our own: the engine pulls the official image, whose name the Dockerfile says."""
        given = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        return [self.program, "build", *secrets, *given, "--file", str(dockerfile), "--tag", reference, "."]

    def save(self, reference: str, archive: Path) -> list[str]:
        return [self.program, "save", "--output", str(archive), reference]

    def environment(self) -> dict[str, str]:
        """For kind: which engine it is to use."""
        return {"KIND_EXPERIMENTAL_PROVIDER": self.program}


def find() -> tuple[Engine | None, str]:
    """An engine that answers, or why there is none."""
    reasons = []
    for program in PROGRAMS:
        if shutil.which(program) is None:
            reasons.append(f"{program} is not installed")
            continue
        try:
            done = subprocess.run([program, "info"], capture_output=True, text=True, timeout=LIMIT, check=False)
        except subprocess.TimeoutExpired:
            reasons.append(f"{program} does not answer within {LIMIT} s")
            continue
        if done.returncode == 0:
            return Engine(program), ""
        last = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        reasons.append(f"{program} does not run ({last})")
    return None, "; ".join(reasons)


def addresses(answer: str) -> tuple[str, str]:
    """A node's IPv4 address and its gateway, which is the machine as the node sees it, from `inspect`."""
    networks = json.loads(answer)
    chosen = networks.get("kind") or next(iter(networks.values()))
    return str(chosen["IPAddress"]), str(chosen["Gateway"])
