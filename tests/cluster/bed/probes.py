"""Pods with the probe program, for the bed's own tests: started, asked, and taken away with their namespace.

Called by conftest.py and the tests beside it; calls kubectl through bed.py.
"""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

from tests.cluster.bed.bed import Bed
from tests.cluster.bed.waiting import BedError, until

IMAGE = "bed.local/probe:1"
PORT = 8080


def container(name: str, *arguments: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": IMAGE, "args": list(arguments), **fields}


def server(name: str = "serve") -> dict[str, Any]:
    """Answers on PORT with its own name; ready within a second."""
    probe = {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1}
    environment = [{"name": "NAME", "value": name}]
    return container("serve", "serve", f":{PORT}", env=environment, readinessProbe=probe)


def pod(name: str, node: int | None = None, **fields: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": [server(name)], "terminationGracePeriodSeconds": 1, **fields}
    if node:
        spec["nodeName"] = f"node{node}"
    metadata = {"name": name, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def service(name: str, app: str, **fields: Any) -> dict[str, Any]:
    spec = {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": PORT}], **fields}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def workload(kind: str, name: str, replicas: int, **fields: Any) -> dict[str, Any]:
    """A Deployment or StatefulSet whose pods are spread over the nodes."""
    labels = {"app": name}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": labels},
    }
    spec = pod(name)["spec"] | {"topologySpreadConstraints": [spread]}
    template = {"metadata": {"labels": labels}, "spec": spec}
    whole = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **fields}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": whole}


class Probes:
    """One namespace."""

    def __init__(self, bed: Bed, namespace: str) -> None:
        self.bed, self.namespace = bed, namespace

    @classmethod
    @contextlib.contextmanager
    def open(cls, bed: Bed, namespace: str) -> Iterator[Probes]:
        bed.kubectl("create", "namespace", namespace)
        probes = cls(bed, namespace)
        until("the namespace's account", lambda: probes.get("serviceaccounts", "default"), 20)
        try:
            yield probes
        finally:
            bed.kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")

    def kubectl(self, *arguments: object, text: str | None = None) -> str:
        return self.bed.kubectl("--namespace", self.namespace, *arguments, text=text)

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "--filename=-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """The object; empty if there is none."""
        text = self.kubectl("get", kind, name, "--ignore-not-found", "--output=json")
        return json.loads(text) if text.strip() else {}

    def ready(self, *names: str, seconds: int = 40) -> None:
        pods = [f"pod/{name}" for name in names]
        self.kubectl("wait", "--for=condition=Ready", f"--timeout={seconds}s", *pods)

    def start(self, *objects: dict[str, Any]) -> None:
        """Apply, and wait for those that are pods."""
        self.apply(*objects)
        if names := [each["metadata"]["name"] for each in objects if each["kind"] == "Pod"]:
            self.ready(*names)

    def addresses(self, name: str) -> list[str]:
        return [entry["ip"] for entry in self.get("pod", name)["status"]["podIPs"]]

    def fetch(self, name: str, target: str, count: int = 1) -> str:
        """What the target answers to the pod; BedError if it does not."""
        return self.kubectl("exec", name, "--", "/probe", "get", target, count)

    def reaches(self, name: str, target: str) -> bool:
        try:
            return bool(self.fetch(name, target))
        except BedError:
            return False


def at(address: str, port: int = PORT) -> str:
    return f"http://[{address}]:{port}/" if ":" in address else f"http://{address}:{port}/"


def fetch(url: str) -> str:
    """From the machine itself, around any proxy that its environment names."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=3) as answer:
        return answer.read().decode()
