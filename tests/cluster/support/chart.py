"""The project's chart, rendered. Called by tests of the installation; calls the bed's Helm."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.cluster.bed import toolchain

CHART = Path(__file__).parents[3] / "helm/sidewinder"
NAMESPACE = "sidewinder-system"
SECONDS = 60


def render(*words: str) -> str:
    """What `helm template` prints. Raises CalledProcessError, whose stderr says why."""
    command = [toolchain.tool("helm"), "template", "sidewinder", CHART, "--namespace", NAMESPACE, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS).stdout
