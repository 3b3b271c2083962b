"""Thousands of Services and pods as objects of a real API server, and what changes them. Called by `bench`.

No kubelet takes the pods up: their status is written here, and their EndpointSlices too, since the cluster's own
controllers are limited to 20 requests a second.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from sidewinder_operator.apiserver import MERGE, ApiServer

AT_ONCE = 24  # requests under way: an API server of one core answers 300 writes a second
SYSTEM = "sidewinder-system"
OURS = "/apis/sidewinder.dev/v1alpha1/namespaces"
EVERYWHERE = "everywhere"  # the policy for the whole mesh


class Size(NamedTuple):
    """How much of everything. Every fourth Service has a route."""

    namespaces: int = 50
    services: int = 1000
    pods: int = 2000

    def names(self) -> Iterator[tuple[str, str]]:
        """Namespace and name of each Service."""
        for number in range(self.services):
            yield f"team-{number % self.namespaces}", f"svc-{number // self.namespaces}"


class Pod(NamedTuple):
    """One that has a sidecar."""

    uid: str
    namespace: str


async def fill(api: ApiServer, size: Size) -> list[Pod]:
    """Makes all of it; the pods that there are then."""
    spaces = [f"team-{number}" for number in range(size.namespaces)]
    await _all(_make(api, "/api/v1/namespaces", _named(name)) for name in [SYSTEM, *spaces])
    await _all(_make(api, f"/api/v1/namespaces/{name}/serviceaccounts", _named("default")) for name in spaces)
    services = [*size.names()]
    await _all(_make(api, f"/api/v1/namespaces/{space}/services", _service(name)) for space, name in services)
    made = await _all(_pod(api, *services[number % size.services], number) for number in range(size.pods))
    slices = "/apis/discovery.k8s.io/v1/namespaces"
    behind: dict[tuple[str, str], list[Any]] = {}
    for number, pod in enumerate(made):
        behind.setdefault(services[number % size.services], []).append((pod.uid, _address(number)))
    await _all(
        _make(api, f"{slices}/{space}/endpointslices", _slice(name, pods)) for (space, name), pods in behind.items()
    )
    await _all(_make(api, f"{OURS}/{space}/apiroutes", _route(name)) for space, name in services if _routed(name))
    return made


class Change(NamedTuple):
    """Something that somebody applies. Who has it holds a resource whose name begins so, with `text` in its bytes."""

    resource: str
    text: str
    send: Callable[[], Awaitable[object]]


def route_change(api: ApiServer, number: int, size: Size) -> Change:
    """One route's limit of time becomes another. Its namespace is concerned, and whoever has wanted its Service."""
    space = f"team-{number % size.namespaces}"
    patch = [{"op": "add", "path": "/spec/rules/0/timeouts", "value": {"request": f"{number + 1}s"}}]
    path = f"{OURS}/{space}/apiroutes/svc-0"
    send = functools.partial(api.send, "PATCH", path, patch, kind="application/json-patch+json")
    return Change(f"route/{space}/svc-0", f'"request_timeout":{number + 1}.0', send)


def policy_change(api: ApiServer, number: int, size: Size) -> Change:
    """A policy for the whole mesh: every backend of every sidecar is another."""
    kind = ("RoundRobin", "LeastRequest")[number % 2]
    body = {
        "apiVersion": "sidewinder.dev/v1alpha1",
        "kind": "ApiPolicy",
        "metadata": {"name": EVERYWHERE},
        "spec": {"targetRefs": [{"kind": "Mesh"}], "loadBalancing": {"type": kind}},
    }
    path, query = f"{OURS}/{SYSTEM}/apipolicies/{EVERYWHERE}", {"fieldManager": "bench", "force": "true"}
    send = functools.partial(api.send, "PATCH", path, body, query=query, kind="application/apply-patch+yaml")
    return Change("backend/", f'"balancing":{{"type":"{kind}"}}', send)


def endpoint_change(api: ApiServer, number: int, size: Size) -> Change:
    """The first pod of a Service is not ready any more."""
    space, name = f"team-{number % size.namespaces}", f"svc-{1 + number // size.namespaces}"
    patch = [{"op": "add", "path": "/endpoints/0/conditions", "value": {"ready": False}}]
    path = f"/apis/discovery.k8s.io/v1/namespaces/{space}/endpointslices/{name}"
    send = functools.partial(api.send, "PATCH", path, patch, kind="application/json-patch+json")
    return Change(f"endpoints/{space}/{name}:80", '"ready":false', send)


# ── objects ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _routed(name: str) -> bool:
    return int(name.removeprefix("svc-")) % 4 == 0


def _named(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}}


def _service(name: str) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {**_named(name), "spec": {"selector": {"app": name}, "ports": ports}}


def _address(number: int) -> str:
    return f"10.{1 + (number >> 16)}.{(number >> 8) & 255}.{number & 255}"


def _slice(name: str, pods: list[tuple[str, str]]) -> dict[str, Any]:
    endpoints = [
        {"addresses": [address], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": "x", "uid": uid}}
        for uid, address in pods
    ]
    labels = {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "bench"}
    return {
        "metadata": {"name": name, "labels": labels},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def _route(name: str) -> dict[str, Any]:
    rules = [{"name": "all", "backendRefs": [{"name": name, "port": 80}]}]
    return {
        "apiVersion": "sidewinder.dev/v1alpha1",
        "kind": "ApiRoute",
        **_named(name),
        "spec": {"parentRefs": [{"kind": "Service", "name": name}], "rules": rules},
    }


async def _pod(api: ApiServer, namespace: str, app: str, number: int) -> Pod:
    pods, name = f"/api/v1/namespaces/{namespace}/pods", f"{app}-{number}"
    spec = {
        "schedulerName": "nobody",
        "automountServiceAccountToken": False,
        "containers": [{"name": "app", "image": "none", "ports": [{"containerPort": 8080, "name": "http"}]}],
        "initContainers": [{"name": "sidewinder-proxy", "image": "none", "restartPolicy": "Always"}],
    }
    answer = await api.send("POST", pods, {"metadata": {"name": name, "labels": {"app": app}}, "spec": spec})
    status = {
        "phase": "Running",
        "podIP": _address(number),
        "podIPs": [{"ip": _address(number)}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    await api.send("PATCH", f"{pods}/{name}/status", {"status": status}, kind=MERGE)
    return Pod(msgspec.json.decode(answer)["metadata"]["uid"], namespace)


async def _make(api: ApiServer, path: str, body: dict[str, Any]) -> None:
    await api.send("POST", path, body)


async def _all(work: Iterable[Awaitable[Any]]) -> list[Any]:
    """All of it, in order, AT_ONCE at a time."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(each: Awaitable[Any]) -> Any:
        async with gate:
            return await each

    return await asyncio.gather(*map(one, work))


async def addresses(api: ApiServer) -> dict[tuple[str, str], str]:
    """Namespace and name of a Service → `ip:port`, as a sidecar that does not know it asks for it."""
    found = await api.get("/api/v1/services")
    ours = (each for each in found["items"] if each["metadata"]["namespace"].startswith("team-"))
    return {
        (each["metadata"]["namespace"], each["metadata"]["name"]): f"{each['spec']['clusterIP']}:80" for each in ours
    }
