"""The containers of a pod as their node sees them: killed as the kernel does it, and started again by the kubelet.

Called by tests of faults; calls the node's containerd. It works while the API server is away.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .cluster import Cluster
from .namespace import Namespace

SECONDS = 90.0  # a second start of a container is delayed by up to 10 s


def statuses(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Of all containers, native sidecars among them."""
    found = pod.get("status") or {}
    yield from found.get("initContainerStatuses") or ()
    yield from found.get("containerStatuses") or ()


def status(pod: dict[str, Any], container: str) -> dict[str, Any]:
    """Of one container; empty while the kubelet has said nothing of it."""
    return next((each for each in statuses(pod) if each["name"] == container), {})


def kill(cluster: Cluster, pod: dict[str, Any], container: str) -> None:
    """Ends the container that this state of the pod names."""
    node = next(each for each in cluster.nodes if each.name == pod["spec"]["nodeName"])
    task = status(pod, container)["containerID"].partition("//")[2]
    node.run("ctr", "--namespace=k8s.io", "tasks", "kill", "--signal=SIGKILL", task)


def wait_restarted(space: Namespace, pod: dict[str, Any], container: str) -> None:
    """Until it has been started once more than in this state of the pod, and the pod is ready."""
    name, before = pod["metadata"]["name"], status(pod, container)["restartCount"]

    def back(seen: Any) -> bool:
        found = status(seen, container)
        return bool(found.get("restartCount", 0) > before and found.get("ready"))

    space.wait_for(f"Pod/{name}", back, seconds=SECONDS)
    space.wait_for(f"Pod/{name}", seconds=SECONDS)
