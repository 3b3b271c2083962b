"""`python -m tests.cluster.install`: images and chart onto a cluster that runs, as `make cluster-install` does.

Calls images/ and the bed's Helm; the tests of the installation use `install` too. A person looks around afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tests.cluster.bed import bed
from tests.cluster.bed.waiting import BedError, run
from tests.cluster.images.build import BuildError, Built, build
from tests.cluster.images.catalog import APPS, OPERATOR, SIDECAR
from tests.cluster.support.chart import CHART, NAMESPACE
from tests.cluster.support.cluster import Cluster

RELEASE = "sidewinder"
PYTHON = "docker.io/library/python:3.13-slim"  # which the shop front of docs/cluster.md runs in
SECONDS = 120  # two pods that start within seconds, on a busy machine


def values(operator: str, sidecar: str) -> list[str]:
    """Helm's words for two references of one registry. A node must not ask anybody for them."""
    (registry, _, one), (_, _, other) = operator.rpartition("/"), sidecar.rpartition("/")
    chosen = {"registry": registry, "operator": one, "sidecar": other, "pullPolicy": "Never"}
    return [f"--set-string=images.{name}={value}" for name, value in chosen.items()]


def install(
    cluster: Cluster, made: Callable[[str], Built], *words: str, chart: Path = CHART, load: bool = True
) -> None:
    """Both images into every node, unless they are there, and the chart. Raises BedError with what Helm said."""
    references = []
    for image in (OPERATOR, SIDECAR):
        found = made(image.name)
        if load:
            cluster.load(found.archive)
        references.append(found.reference)
    helm = ["env", f"KUBECONFIG={cluster.kubeconfig}", cluster.bin / "helm", "upgrade", "--install", RELEASE, chart]
    where = [f"--namespace={NAMESPACE}", "--create-namespace", "--wait", f"--timeout={SECONDS}s"]
    run(*helm, *where, *values(*references), *words, seconds=SECONDS + 30)


def provide(cluster: Cluster, made: Built, reference: str) -> None:
    """The image into every node under this name, as if it had been pulled: no node of the bed reaches a registry."""
    cluster.load(made.archive)
    for node in cluster.nodes:
        node.run("ctr", "--namespace=k8s.io", "images", "tag", "--force", made.reference, reference)


def main() -> int:
    """Onto the cluster of `make cluster-up`."""
    catalog = {image.name: image for image in (OPERATOR, SIDECAR)}
    try:
        cluster = bed.attach()
        install(cluster, lambda name: build(catalog[name]))
        provide(cluster, build(APPS), PYTHON)  # it has the same Python
    except (BedError, BuildError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Sidewinder is in {NAMESPACE}; next:")
    print(f"  export KUBECONFIG={cluster.kubeconfig} PATH={cluster.bin}:$PATH")
    print("  . .venv/bin/activate && sidewinder check")
    print("and the first canary: docs/cluster.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
