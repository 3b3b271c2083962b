"""Which real cluster the tests run on, and what they may expect of it.

Called by tests/cluster/conftest.py; calls the bed and kind. Both give the same attributes, so a test never asks
which one it has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.cluster.bed import bed
from tests.cluster.bed.waiting import BedError
from tests.cluster.kind import kind

NODES = 2  # the smallest number with which traffic crosses from node to node


class Node(Protocol):
    """A machine of the cluster."""

    @property
    def name(self) -> str: ...
    @property
    def address(self) -> str: ...
    def run(self, *command: str) -> str: ...


class Cluster(Protocol):
    """What `Bed` and `Kind` have in common."""

    @property
    def kubeconfig(self) -> Path: ...
    @property
    def bin(self) -> Path: ...
    @property
    def host(self) -> str: ...
    @property
    def nodes(self) -> Sequence[Node]: ...
    def environment(self) -> dict[str, str]: ...
    def kubectl(self, *arguments: object, text: str | None = None, seconds: float = 120) -> str: ...
    def load(self, *images: Path | str) -> None: ...
    def trust_registry(self, registry: str) -> None: ...
    def deaths(self) -> list[str]: ...
    def stop(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Choice:
    """A kind of cluster, or why there is none."""

    name: str = ""
    reason: str = ""


# In the order of preference: the bed needs no container engine and is up in ten seconds.
IMPEDIMENTS: dict[str, Callable[[], str | None]] = {"bed": bed.impediment, "kind": kind.impediment}


def choose(environment: Mapping[str, str], impediments: Mapping[str, Callable[[], str | None]] = IMPEDIMENTS) -> Choice:
    """What CLUSTER names (bed, kind, or `running`: the bed of `make cluster-up`), else the first that can run here."""
    wanted = environment.get("CLUSTER", "")
    if wanted == "running":
        return Choice("running")
    if wanted and wanted not in impediments:
        raise BedError(f"CLUSTER={wanted}: there are {', '.join(impediments)} and running")
    reasons = []
    for name in [wanted] if wanted else impediments:
        reason = impediments[name]()
        if reason is None:
            return Choice(name)
        reasons.append(f"{name}: {reason}")
    return Choice(reason="; ".join(reasons))


def start(choice: Choice, say: Callable[[str], object], environment: Mapping[str, str]) -> Cluster:
    """The cluster, ready. `running`: the bed of `make cluster-up`, or the one whose folder CLUSTER_DIRECTORY names."""
    if choice.name == "running":
        named = environment.get("CLUSTER_DIRECTORY")
        return bed.attach(Path(named) if named else None)
    if choice.name == "kind":
        return kind.start(NODES, version=environment.get("CLUSTER_VERSION", ""), say=say)
    return bed.start(NODES, owner=True, say=say)
