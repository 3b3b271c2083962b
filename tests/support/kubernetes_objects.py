"""Objects as an API server holds them, for tests that put them into the fake one."""

from __future__ import annotations

from typing import Any

OURS = "/apis/sidewinder.dev/v1alpha1"
ROUTES = f"{OURS}/apiroutes"
SERVICES = "/api/v1/services"
PODS = "/api/v1/pods"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
REVISIONS = "/apis/apps/v1/controllerrevisions"
EVENTS = "/apis/events.k8s.io/v1/events"
LEASES = "/apis/coordination.k8s.io/v1/leases"


def service(name: str, namespace: str = "shop") -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": ports, "clusterIP": "10.96.0.7"},
    }


def route(name: str, parent: str, backend: str, namespace: str = "shop", generation: int = 1) -> dict[str, Any]:
    rules = [{"name": "all", "backendRefs": [{"name": backend, "port": 80}]}]
    return {
        "metadata": {"name": name, "namespace": namespace, "generation": generation},
        "spec": {"parentRefs": [{"kind": "Service", "name": parent}], "rules": rules},
    }


def pod(name: str, app: str, address: str, namespace: str = "shop", *, sidecar: bool = True) -> dict[str, Any]:
    containers = [{"name": "app", "ports": [{"containerPort": 8080, "name": "http"}]}]
    sidecars = [{"name": "sidewinder-proxy", "restartPolicy": "Always"}] if sidecar else []
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": app}},
        "spec": {"containers": containers, "initContainers": sidecars, "serviceAccountName": app},
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def slice_of(service: str, uid: str, address: str, zone: str = "", namespace: str = "shop") -> dict[str, Any]:
    target = {"kind": "Pod", "namespace": namespace, "name": "x", "uid": uid}
    return {
        "addressType": "IPv4",
        "metadata": {
            "name": f"{service}-{uid[:4]}",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}, "zone": zone, "targetRef": target}],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }
