"""What the proxies in front of a Service have in force, or would have: from manifests, a running `up`, or a cluster.

Called by `authz`. Manifests say nothing of pods: one is thought of that has just the labels that the Service selects.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from sidewinder_operator.cli import status
from sidewinder_operator.cli.kubectl import Refused, Unreachable
from sidewinder_operator.cli.validate import remains
from sidewinder_operator.compile.compiler import Compiled, Running, compile_cluster
from sidewinder_operator.compile.project import Projector
from sidewinder_operator.inject.containers import PROXY
from sidewinder_operator.inject.options import ADMIN
from sidewinder_operator.local.files import Manifests
from sidewinder_operator.mesh.workloads import PodReplica, Replica, WorkloadPort
from sidewinder_operator.problems import Problem
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.core import Service, ServicePort

PAGE = "/config"
ANSWER_SECONDS = 10.0
LARGEST_ANSWER = 64 << 20  # with several lists of 100 000 addresses
MOST_PODS = 8  # that are asked: one of each kind, and few Services select more kinds
FIRST_PORT = 15000  # of processes that are only thought of

# Labels in which the pods of one Deployment or StatefulSet differ.
_OWN = frozenset({"pod-template-hash", "controller-revision-hash", "statefulset.kubernetes.io/pod-name",
                  "apps.kubernetes.io/pod-index", "pod-template-generation"})  # fmt: skip


class Api(Protocol):
    """What `kubectl.Kubectl` gives."""

    def find(self, path: str) -> Any | None: ...
    def items(self, path: str) -> Iterable[Any]: ...
    def ask(self, namespace: str, pod: str, port: int, path: str) -> Any: ...


class Target(msgspec.Struct, frozen=True):
    """A Service's port; `port` is its number or name, "" for the first."""

    namespace: str
    service: str
    port: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service}{':' if self.port else ''}{self.port}"


class Picture(msgspec.Struct, frozen=True):
    """One proxy's: whose it is, the port at which it is called, what it has by name."""

    who: str
    port: int
    resources: Mapping[str, Any]


class Absent(Exception):
    """There is no such Service or port, or nobody serves it; says which."""


# ── from manifests ────────────────────────────────────────────────────────────────────────────────────────────────────


def from_files(paths: Sequence[Path], target: Target) -> tuple[list[Picture], list[Problem]]:
    """What these manifests would lead to, and what is wrong with them. Raises Absent."""
    manifests = Manifests(paths)
    cluster, problems = manifests.load()
    service = cluster.services.get((target.namespace, target.service))
    if service is None:
        raise Absent(f"these manifests have no Service {target.namespace}/{target.service}")
    port = _port(service.spec.ports, target)
    running = Running(replicas=tuple(_replicas(cluster, service)))
    if not running.replicas:
        running = Running(pods=(_pod(service),))
    done = compile_cluster(cluster, running=running, wrecks=remains(manifests))
    return list(_pictures(done, running, service, port)), [*problems, *manifests.placed(done.problems)]


def _port(ports: Iterable[ServicePort], target: Target) -> ServicePort:
    known = [port for port in ports if port.protocol == "TCP"]
    for port in known:
        if target.port in ("", str(port.port), port.name):
            return port
    names = ", ".join(f"{port.port}{f' ({port.name})' if port.name else ''}" for port in known)
    raise Absent(f"Service {target.namespace}/{target.service} has no port {target.port}; it has {names or 'none'}")


def _replicas(cluster: Cluster, service: Service) -> Iterator[Replica]:
    """One of each LocalProcess that the Service selects."""
    selector, first = service.spec.selector, FIRST_PORT
    for process in cluster.processes.values():
        if process.namespace == service.namespace and selector and selector.items() <= process.metadata.labels.items():
            yield Replica(
                namespace=process.namespace,
                name=process.name,
                uid=process.name,
                inbound=first,
                application=first + 1,
                outbound=first + 2,
            )
            first += 3


def _pod(service: Service) -> PodReplica:
    """A pod as the Service wants it. A port that it knows by name alone has the Service's own number."""
    if not service.spec.selector:
        raise Absent(f"Service {service.namespace}/{service.name} selects nobody")
    ports = [
        WorkloadPort(port=port.port, name=port.target_port, dialled=port.port, application=port.port)
        for port in service.spec.ports
        if isinstance(port.target_port, str)
    ]
    return PodReplica(
        namespace=service.namespace,
        name=service.name,
        uid=service.name,
        addresses=("192.0.2.1",),
        ports=tuple(ports),
        labels=dict(service.spec.selector),
    )


def _pictures(done: Compiled, running: Running, service: Service, port: ServicePort) -> Iterator[Picture]:
    projector = Projector(done.mesh)
    for replica in running.replicas:
        own = projector.layers(replica.id)[0]
        raw = {name: msgspec.Raw(each.raw) for name, each in own.resources.items()}
        yield Picture(f"LocalProcess {replica.namespace}/{replica.name}", replica.inbound, raw)
    for pod in running.pods:
        own = projector.layers(pod.id)[0]
        labels = ", ".join(f"{name}={text}" for name, text in sorted(pod.labels.items()))
        raw = {name: msgspec.Raw(each.raw) for name, each in own.resources.items()}
        dialled = port.target_port if isinstance(port.target_port, int) else port.port
        yield Picture(f"a pod with {labels}", dialled, raw)


# ── from what runs ────────────────────────────────────────────────────────────────────────────────────────────────────


def from_up(state: Path, target: Target) -> list[Picture]:
    """What the sidecars of a running `up` have. Raises Absent, and status.NotRunning."""
    told = json.loads(status.ask(state))
    members = told["services"].get(f"{target.namespace}/{target.service}")
    if members is None:
        raise Absent(f"the `sidewinder up` of {state} has no Service {target.namespace}/{target.service}")
    if not members:
        raise Absent(f"nobody serves {target.namespace}/{target.service}: it selects no LocalProcess")
    return [
        Picture(proxy["id"], proxy["ports"]["inbound"], _resources(_asked(proxy["ports"]["admin"]), proxy["id"]))
        for proxy in told["proxies"]
        if proxy["id"] in members
    ]


def _asked(port: int) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", PAGE)
        body = connection.getresponse().read(LARGEST_ANSWER)
        return json.loads(body)
    except (OSError, http.client.HTTPException, ValueError) as fault:
        raise Absent(f"the sidecar with its admin port at {port} does not answer: {fault}") from None
    finally:
        connection.close()


def from_cluster(api: Api, target: Target) -> list[Picture]:
    """What one pod of each kind that the Service selects has. Raises Absent, and what kubectl raises."""
    found = api.find(f"/api/v1/namespaces/{target.namespace}/services/{target.service}")
    if found is None:
        raise Absent(f"there is no Service {target.namespace}/{target.service}")
    service = msgspec.convert({**found, "metadata": {"name": target.service}}, Service)
    port = _port(service.spec.ports, target)
    pods = list(_kinds(api.items(f"/api/v1/namespaces/{target.namespace}/pods"), service.spec.selector))
    if not pods:
        raise Absent(f"Service {target.namespace}/{target.service} selects no pod that runs")
    pictures = []
    for pod in pods[:MOST_PODS]:
        name = pod["metadata"]["name"]
        if not any(each["name"] == PROXY for each in pod["spec"].get("initContainers") or ()):
            raise Absent(f"pod {name} has no proxy: nobody judges who calls it")
        try:
            page = api.ask(target.namespace, name, ADMIN, PAGE)
        except (Refused, Unreachable) as why:
            raise Absent(f"the proxy of pod {name} cannot be asked: {why}") from None
        pictures.append(Picture(f"Pod {target.namespace}/{name}", _dialled(pod, port), _resources(page, name)))
    return pictures


def _kinds(pods: Iterable[Any], selector: Mapping[str, str]) -> Iterator[Any]:
    """The first that runs of each set of labels."""
    seen = set()
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        running = pod["status"].get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")
        kind = frozenset((name, text) for name, text in labels.items() if name not in _OWN)
        if running and selector and selector.items() <= labels.items() and kind not in seen:
            seen.add(kind)
            yield pod


def _dialled(pod: Any, port: ServicePort) -> int:
    target = port.target_port if port.target_port is not None else port.port
    if isinstance(target, int):
        return target
    declared = (each for container in pod["spec"]["containers"] for each in container.get("ports") or ())
    for each in declared:
        if each.get("name") == target:
            return int(each["containerPort"])
    raise Absent(f"pod {pod['metadata']['name']} has no port of the name {target}")


def _resources(page: Any, who: str) -> Mapping[str, Any]:
    resources = page.get("resources") if isinstance(page, dict) else None
    if not isinstance(resources, dict):
        raise Absent(f"the proxy of {who} answers, but not like a proxy of this version")
    return resources
