"""Objects of the API: applied from YAML, waited for, looked at.

Called by namespace.py and tests; calls the `kubernetes` package. Every apply is a server-side apply, as GitOps and the
operator do it.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError
from urllib3.exceptions import HTTPError

from tests.cluster.bed.waiting import BedError, until

MANIFESTS = Path(__file__).resolve().parents[1] / "manifests"
OWNER = "sidewinder-tests"
Seen = Callable[[Any], object]


def parse(text: str, values: Mapping[str, str]) -> list[dict[str, Any]]:
    """The documents, with $name replaced. A name that nobody gave a value is an error."""
    return [document for document in yaml.safe_load_all(string.Template(text).substitute(values)) if document]


def read(name: str, values: Mapping[str, str]) -> list[dict[str, Any]]:
    """The documents of one of tests/cluster/manifests."""
    return parse((MANIFESTS / name).read_text(), values)


def _condition(seen: Any, kind: str) -> bool:
    conditions = (seen.get("status") or {}).get("conditions") or []
    return any(condition["type"] == kind and condition["status"] == "True" for condition in conditions)


def _rolled_out(seen: Any) -> bool:
    """Every replica is of the newest generation and ready, and none is left of an older one."""
    status, wanted = seen.get("status") or {}, seen["spec"].get("replicas", 1)
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
    return status.get("observedGeneration") == seen["metadata"]["generation"] and counts == [wanted] * 3


# What "there" means for a kind when the test does not say it.
READY: dict[str, Seen] = {
    "Deployment": _rolled_out,
    "StatefulSet": _rolled_out,
    "Pod": lambda seen: _condition(seen, "Ready"),
    "Job": lambda seen: _condition(seen, "Complete"),
    "CustomResourceDefinition": lambda seen: _condition(seen, "Established"),
}


class Objects:
    """A client of one API server; `cache` is a file for what kinds there are, which must not outlive the cluster."""

    def __init__(self, api: ApiClient, cache: Path) -> None:
        self._dynamic: Any = DynamicClient(api, cache_file=str(cache))

    def resource(self, version: str, kind: str) -> Any:
        return self._dynamic.resources.get(api_version=version, kind=kind)

    def apply(self, document: dict[str, Any], namespace: str) -> Any:
        """Server-side apply; the namespace is for documents that name none and whose kind has one."""
        resource = self.resource(document["apiVersion"], document["kind"])
        place = document["metadata"].get("namespace", namespace) if resource.namespaced else None
        return resource.server_side_apply(
            body=document, name=document["metadata"]["name"], namespace=place, field_manager=OWNER, force_conflicts=True
        ).to_dict()

    def get(self, kind: str, name: str, namespace: str, version: str = "") -> Any:
        """The object, or nothing."""
        found = self.resource(version or VERSIONS[kind], kind)
        try:
            return found.get(name=name, namespace=namespace if found.namespaced else None).to_dict()
        except NotFoundError:
            return None

    def list(self, kind: str, namespace: str, version: str = "", **selectors: str) -> list[Any]:
        found = self.resource(version or VERSIONS[kind], kind).get(namespace=namespace, **selectors)
        return list(found.to_dict()["items"])

    def delete(self, kind: str, name: str, namespace: str, version: str = "", **options: Any) -> None:
        found = self.resource(version or VERSIONS[kind], kind)
        try:
            found.delete(name=name, namespace=namespace if found.namespaced else None, **options)
        except NotFoundError:
            return

    def wait(self, kind: str, name: str, namespace: str, seen: Seen | None, seconds: float, version: str = "") -> Any:
        """The object as soon as it is as wanted; a failure tells its last status."""
        wanted = seen or READY[kind]
        last: list[Any] = [None]

        def look() -> bool:
            try:
                last[0] = self.get(kind, name, namespace, version)
            except (ApiException, HTTPError) as error:  # the API server is away: a test of faults waits through that
                raise OSError(str(error)) from error
            return last[0] is not None and bool(wanted(last[0]))

        try:
            until(f"{kind}/{name}", look, seconds, 0.1)
        except BedError as error:
            status = last[0].get("status") if last[0] else "it is not there"
            raise BedError(f"{error}\nlast seen: {yaml.safe_dump(status)}") from None
        return last[0]

    def wait_gone(self, kind: str, name: str, namespace: str, seconds: float, version: str = "") -> None:
        until(f"end of {kind}/{name}", lambda: self.get(kind, name, namespace, version) is None, seconds, 0.1)


# Kinds by which tests name objects without their group.
VERSIONS = {
    "Pod": "v1",
    "Service": "v1",
    "Endpoints": "v1",
    "ConfigMap": "v1",
    "Secret": "v1",
    "Namespace": "v1",
    "Node": "v1",
    "Event": "v1",
    "ServiceAccount": "v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Job": "batch/v1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "MutatingWebhookConfiguration": "admissionregistration.k8s.io/v1",
    "TokenReview": "authentication.k8s.io/v1",
}
