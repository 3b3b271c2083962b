"""The installation that tests of the mesh share: real images, the real chart, made when the first test asks for it.

Called by the fixtures `mesh` and `injected`; calls install.py and Helm. A test that does not ask for it finds a cluster
without one: conftest.py takes it away first.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.bed.waiting import run, until
from tests.cluster.images.build import Built
from tests.cluster.install import RELEASE, install

from .chart import CHART, NAMESPACE
from .cluster import Cluster

OPERATORS = "app.kubernetes.io/component=operator"
PROXY = "sidewinder-proxy"  # the container in every injected pod
ENABLED = {"sidewinder.dev/inject": "enabled"}
SECONDS = 60.0


class Mesh:
    """One installation, there or not."""

    def __init__(self, cluster: Cluster, built: Callable[[str], Built]) -> None:
        self.cluster, self._built = cluster, built
        self.installed = False
        self._loaded = False  # the images are on the nodes

    def ensure(self) -> None:
        """Installs it unless it is there, and waits until somebody leads: only then namespaces get what pods need."""
        if not self.installed:
            self.installed = True  # half of an installation is taken away, too
            self.install()
            until("somebody leads", self.leader, SECONDS, 0.2)

    def install(self, *words: str, chart: Path = CHART) -> None:
        """Installs or upgrades, with further words for Helm; all other values are the defaults."""
        install(self.cluster, self._built, *words, chart=chart, load=not self._loaded)
        self._loaded = True

    def remove(self) -> None:
        """As a person would, and then what a person keeps: the definitions and the CA."""
        if not self.installed:
            return
        self.installed = False
        self.helm("uninstall", RELEASE, "--ignore-not-found", "--wait", f"--timeout={SECONDS:g}s")
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", f"--timeout={SECONDS:g}s")
        self.cluster.kubectl("delete", "crd", "-l", "app.kubernetes.io/part-of=sidewinder")

    def helm(self, *words: object) -> str:
        """What Helm prints, in the namespace of the installation."""
        environment = ["env", f"KUBECONFIG={self.cluster.kubeconfig}"]
        return run(*environment, self.cluster.bin / "helm", *words, f"--namespace={NAMESPACE}")

    def items(self, kind: str, *words: str, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
        """The objects of a kind, as kubectl finds them."""
        answer = self.cluster.kubectl("get", kind, "-n", namespace, "-o", "json", *words)
        found: list[dict[str, Any]] = json.loads(answer)["items"]
        return found

    def replicas(self) -> list[dict[str, Any]]:
        """The operator's pods that are not on their way out."""
        return [pod for pod in self.items("pods", "-l", OPERATORS) if "deletionTimestamp" not in pod["metadata"]]

    def leader(self) -> str:
        """The pod that leads, by name; "" while nobody does."""
        words = ("get", "lease", "sidewinder-operator", "-n", NAMESPACE, "-o", "jsonpath={.spec.holderIdentity}")
        holder = self.cluster.kubectl(*words, "--ignore-not-found")
        names = [str(pod["metadata"]["name"]) for pod in self.replicas()]
        return next((name for name in names if holder.startswith(f"{name}-")), "")

    def ready(self) -> bool:
        """All replicas that are wanted are ready."""
        words = ("get", "deployment", "sidewinder-operator", "-n", NAMESPACE, "-o", "json")
        found = json.loads(self.cluster.kubectl(*words))
        return bool(found["spec"]["replicas"] == (found["status"].get("readyReplicas") or 0))

    def live(self, route: str, namespace: str, seconds: float = 30) -> None:
        """Returns when every proxy that needs this route has it, as a pipeline waits for it."""
        words = ("wait", "--for=condition=Programmed", f"apiroute/{route}", "-n", namespace)
        self.cluster.kubectl(*words, f"--timeout={seconds:g}s", seconds=seconds + 10)

    def proxies(self, namespace: str) -> list[dict[str, Any]]:
        """The pods of a namespace that have a proxy."""
        return [pod for pod in self.items("pods", namespace=namespace) if proxy_of(pod)]


def proxy_of(pod: dict[str, Any]) -> dict[str, Any] | None:
    """The proxy's container in this pod, or nothing."""
    return next((each for each in pod["spec"].get("initContainers") or () if each["name"] == PROXY), None)
