"""docs/cluster.md, done: every command in order on a real cluster, and what the page says one sees.

Two things stand in for what is not here. `docker` builds with images/, and its push puts the image onto the nodes, as a
pull would. The shop's `python:3.13-slim` is the image of the test applications, which has the same Python.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.bed.waiting import until
from tests.cluster.images.build import Built
from tests.cluster.install import PYTHON, provide
from tests.cluster.support.chart import NAMESPACE
from tests.cluster.support.cluster import Cluster
from tests.support.pages import ROOT, Block, Page

pytestmark = pytest.mark.cluster

PAGE = ROOT / "docs/cluster.md"
REGISTRY = "registry.example.org/mesh"
STEP_SECONDS = 240
LIKELY = re.compile(r"^ *(\d+) (reviews v\d)$")  # counted by chance: within the page's number by a binomial bound
DOCKER = """#!/bin/sh
# Stands in for docker: says what it was asked for, checks that it could be done.
echo "$@" >> "$DOCKER_LOG"
case $1 in build) shift; while [ $# -gt 0 ]; do [ "$1" = -f ] && test -f "$2"; shift; done;; esac
"""


class Reader:
    """Somebody with a shell who does what the page says."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.folder = folder
        (folder / "docker").write_text(DOCKER)
        (folder / "docker").chmod(0o755)
        environment = cluster.environment()
        path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), environment["PATH"]])
        own = {f"HELM_{name}_HOME": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        self._environment = {**environment, **own, "PATH": path, "DOCKER_LOG": str(folder / "docker.log")}
        self.output = ""

    def do(self, commands: str) -> None:
        """Runs a block; what it prints, and how it ended, is seen by the reader."""
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail\n{commands}"],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
        )
        self.output = done.stdout + done.stderr

    def sees(self, expected: str) -> None:
        """Each line of the page stands in what the last block printed; `…` is anything."""
        for line in expected.splitlines():
            if chance := LIKELY.match(line):
                self._sees_about(int(chance[1]), chance[2])
            else:
                parts = (re.escape(" ".join(part.split())) for part in line.split("…"))
                wanted = re.compile(".*?".join(parts))
                shown = [" ".join(each.split()) for each in self.output.splitlines()]
                assert any(wanted.search(each) for each in shown), f"{line!r} is not in\n{self.output}"

    def _sees_about(self, count: int, who: str) -> None:
        found = {name: int(number) for number, name in re.findall(r"(?m)^ *(\d+) (.+)$", self.output)}
        total = sum(found.values())
        share = count / total
        bound = 4.9 * (total * share * (1 - share)) ** 0.5 + 1  # one in a million, two-sided
        assert abs(found.get(who, 0) - count) <= bound, f"{count} {who} expected:\n{self.output}"


@pytest.fixture
def reader(cluster: Cluster, tmp_path: Path) -> Iterator[Reader]:
    """Leaves nothing behind, however far it came."""
    yield Reader(cluster, tmp_path)
    helm = Reader(cluster, tmp_path)
    helm.do(f"helm uninstall sidewinder -n {NAMESPACE} --ignore-not-found --wait --timeout 60s")
    helm.do(f"kubectl delete namespace bookinfo {NAMESPACE} --ignore-not-found --timeout=90s")
    helm.do("kubectl delete crd -l app.kubernetes.io/part-of=sidewinder")


def test_the_page_is_as_it_says(cluster: Cluster, built: Callable[[str], Built], reader: Reader) -> None:
    provide(cluster, built("apps"), PYTHON)
    blocks = [*Page(PAGE).blocks()]
    for block in blocks:
        if block.language == "sh":
            reader.do(block.text)
            if "docker push" in block.text:
                said = (reader.folder / "docker.log").read_text()
                for image in ("operator", "sidecar"):
                    reference = f"{REGISTRY}/sidewinder-{image}:0.1.0"
                    assert f"push {reference}" in said, reader.output
                    provide(cluster, built(f"sidewinder-{image}"), reference)
        elif block.language == "text":
            see(reader, block, blocks)


def see(reader: Reader, block: Block, blocks: list[Block]) -> None:
    """What a list shows, and which pods are known, may take a moment to be so; what was waited for is so at once."""
    commands = next(each.text for each in reversed(blocks[: blocks.index(block)]) if each.language == "sh")
    if not commands.startswith(("kubectl get", "kubectl exec", "sidewinder check", "sidewinder identity")):
        reader.sees(block.text)
        return

    def seen() -> bool:
        try:
            reader.sees(block.text)
        except AssertionError as error:
            reader.do(commands)
            raise ValueError(str(error)) from None
        return True

    until(f"what follows {commands!r}", seen, 30, 0.5)
