"""Clusters from YAML for tests of compile: read as the loaders read, with processes that only pretend to run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sidewinder_operator.compile.compiler import Running
from sidewinder_operator.compile.wreck import Wreck, salvage
from sidewinder_operator.mesh.workloads import PodReplica, Replica, WayIn
from sidewinder_operator.problems import Problem
from sidewinder_operator.resources import Cluster, Object, gather
from sidewinder_operator.resources.read import read
from sidewinder_operator.watch import records


class Given(NamedTuple):
    """What a set of manifests gives compile, and what the reader had to say."""

    cluster: Cluster
    problems: list[Problem]
    wrecks: list[Wreck]
    pods: tuple[PodReplica, ...] = ()


def given(*texts: str) -> Given:
    """The cluster of some YAML texts."""
    return gathered(document for text in texts for document in yaml.safe_load_all(text) if document is not None)


def folder(path: Path) -> Given:
    """The cluster of a folder's manifests."""
    return given(*(file.read_text() for file in sorted(path.glob("*.yaml"))))


def gathered(documents: Iterable[Any]) -> Given:
    """The cluster of some objects as YAML gives them."""
    found: list[Object] = []
    problems: list[Problem] = []
    wrecks: list[Wreck] = []
    broken = set()
    pods = []
    for document in documents:
        if isinstance(document, dict) and document.get("kind") == "Pod":
            pods.append(pod(document))
            continue
        reading = read(document)
        problems += reading.problems
        if reading.found is not None:
            found.append(reading.found)
        elif reading.refused:
            broken.add(reading.reference)
            if reading.reference.kind == "ApiPolicy":
                wrecks.append(salvage(reading.reference, document))
    return Given(gather(found, broken), problems, wrecks, tuple(sorted(pods, key=lambda each: each.uid)))


def pod(document: Any) -> PodReplica:
    """A pod as the reflectors read it; what a cluster adds to every pod with a sidecar is added here."""
    document["metadata"].setdefault("uid", f"uid-of-{document['metadata']['name']}")
    sidecar = {"name": "sidewinder-proxy", "restartPolicy": "Always"}
    document["spec"].setdefault("initContainers", []).insert(0, sidecar)
    found = records.pod(json.dumps(document).encode())
    assert found is not None
    return found.replica("")


def running(cluster: Cluster, way_in: bool = True, pods: tuple[PodReplica, ...] = ()) -> Running:
    """Every replica of every LocalProcess, on ports counted from 15000: inbound, application, outbound."""
    ways = (WayIn(port=8080),) if way_in else ()
    return Running(replicas=tuple(_replicas(cluster)), pods=pods, ways_in=ways)


def _replicas(cluster: Cluster) -> Iterator[Replica]:
    port = 15000
    for process in cluster.processes.values():
        for index in range(process.spec.replicas):
            yield Replica(
                namespace=process.namespace,
                name=process.name,
                index=index,
                uid=f"{process.name}-{index}",
                inbound=port,
                application=port + 1,
                outbound=port + 2,
            )
            port += 10
