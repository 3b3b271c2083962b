"""One test's namespace and everything a test does in it.

Called by the fixtures of tests/cluster/conftest.py; calls objects.py, pods.py and traffic.py.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any

from kubernetes.client import Configuration

from .cluster import Cluster
from .objects import Objects, Seen, parse, read
from .pods import Done, Pods

LABEL = "sidewinder.test/test"
LIMIT = 60.0  # seconds: a pod whose image is on the node starts in two


def name_for(test: str) -> str:
    """A namespace's name from a test's: readable, short enough for what is derived from it, and new each time."""
    words = re.sub(r"[^a-z0-9]+", "-", test.lower().removeprefix("test_")).strip("-")
    return f"{words[:36].strip('-')}-{secrets.token_hex(3)}"


class Namespace:
    """A fresh namespace. `images` gives the reference for a name of the catalog, built when it is first asked for."""

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        objects: Objects,
        configuration: Configuration,
        images: Callable[[str], str],
        labels: dict[str, str] | None = None,
    ) -> None:
        self.name, self.cluster, self.objects = name, cluster, objects
        self._pods, self._images = Pods(configuration, name), images
        metadata = {"name": name, "labels": {LABEL: "true"} | (labels or {})}
        objects.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, "")
        # A pod that comes before its service account is refused.
        objects.wait("ServiceAccount", "default", name, lambda seen: True, LIMIT)

    def __str__(self) -> str:
        return self.name

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def apply(self, what: str | dict[str, Any], **values: str) -> list[Any]:
        """A document, YAML text, or the name of a file in tests/cluster/manifests. $apps_image, $stores_image and
        $namespace are known there; `values` adds others."""
        if isinstance(what, dict):
            documents = [what]
        else:
            known = _Values(self._images, {"namespace": self.name} | values)
            documents = read(what, known) if what.endswith(".yaml") else parse(what, known)
        return [self.objects.apply(document, self.name) for document in documents]

    def wait_for(self, reference: str, seen: Seen | None = None, *, seconds: float = LIMIT, version: str = "") -> Any:
        """`Kind/name`, as soon as seen(object) is true; without it, ready as its kind understands it."""
        kind, _, name = reference.partition("/")
        return self.objects.wait(kind, name, self.name, seen, seconds, version)

    def wait_gone(self, reference: str, *, seconds: float = LIMIT, version: str = "") -> None:
        kind, _, name = reference.partition("/")
        self.objects.wait_gone(kind, name, self.name, seconds, version)

    def get(self, reference: str, version: str = "") -> Any:
        kind, _, name = reference.partition("/")
        return self.objects.get(kind, name, self.name, version)

    def pods(self, selector: str) -> list[Any]:
        """The pods of a label selector that are not on their way out, by name."""
        found = self.objects.list("Pod", self.name, label_selector=selector)
        alive = [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]
        return sorted(alive, key=lambda pod: str(pod["metadata"]["name"]))

    def delete(self, reference: str, version: str = "", **options: Any) -> None:
        kind, _, name = reference.partition("/")
        self.objects.delete(kind, name, self.name, version, **options)

    def run_in_pod(self, pod: str, *command: str, container: str = "", seconds: float = LIMIT) -> str:
        """The output; an error if the command fails."""
        return self._pods.check(pod, *command, container=container, seconds=seconds)

    def try_in_pod(self, pod: str, *command: str, container: str = "", seconds: float = LIMIT) -> Done:
        return self._pods.run(pod, *command, container=container, seconds=seconds)

    def logs(self, pod: str, container: str = "", *, previous: bool = False) -> str:
        return self._pods.logs(pod, container, previous=previous)

    def remove(self) -> None:
        """Asked for, not waited for: other tests go on meanwhile."""
        self.objects.delete("Namespace", self.name, "", propagation_policy="Background")


class _Values(dict[str, str]):
    """The values for a manifest: an image is built when a manifest names it, and not before."""

    def __init__(self, images: Callable[[str], str], values: dict[str, str]) -> None:
        super().__init__(values)
        self._images = images

    def __missing__(self, key: str) -> str:
        if not key.endswith("_image"):
            raise KeyError(f"a manifest says ${key}, and nobody gave that a value")
        return self._images(key.removesuffix("_image"))
