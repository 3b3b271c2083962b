"""What is added to a pod: two init containers, their volumes, and a preStop hook. Called by `patch`; pure data.

`sidewinder-capture` writes the redirect rules and ends; `sidewinder-proxy` is a native sidecar: it starts before every
other container and ends after them. Only the first has a capability, only for as long as it runs.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from sidewinder_operator.inject.annotations import Asked
from sidewinder_operator.inject.options import ADMIN, AUDIENCE, BUNDLE, INBOUND, OUTBOUND, PROBE, TRUST, UID, Options
from sidewinder_operator.inject.probes import VARIABLE
from sidewinder_sidecar.snapshot.probes import Probes, encode

CAPTURE, PROXY = "sidewinder-capture", "sidewinder-proxy"
OWN_CONTAINERS = frozenset({CAPTURE, PROXY})
OWN_PORTS = frozenset({OUTBOUND, INBOUND, PROBE, ADMIN})

STATE, TOKEN, BUNDLES = "sidewinder-state", "sidewinder-token", "sidewinder-trust"  # volumes
OWN_VOLUMES = frozenset({STATE, TOKEN, BUNDLES})
STATE_FOLDER, TOKEN_FOLDER, TRUST_FOLDER = (
    "/var/lib/sidewinder",
    "/var/run/secrets/sidewinder",
    "/var/run/secrets/sidewinder-trust",
)
STATE_SIZE = "32Mi"  # a configuration of 2 000 Services is 5 MB, kept twice while it is replaced
TOKEN_SECONDS = 3600  # the kubelet renews it at four fifths; it is used at enrolment alone

RUN = ("python3", "-m", "sidewinder_sidecar.main")
DRAIN = "/drain"  # on the probe port: answered when those who knew this pod know that it goes, or in time
START_SECONDS = 600  # an operator that is being rolled out, or an image that is pulled slowly

_LOCKED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "privileged": False,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def capture(options: Options, asked: Asked) -> dict[str, Any]:
    """The init container that writes the redirect rules."""
    skipped = (
        ("--skip-inbound-ports", (PROBE, *options.exclude_inbound_ports, *asked.exclude_inbound_ports)),
        ("--skip-outbound-ports", (*options.exclude_outbound_ports, *asked.exclude_outbound_ports)),
        ("--skip-outbound-networks", (*options.exclude_outbound_networks, *asked.exclude_outbound_networks)),
    )
    words = ["capture", f"--uid={UID}", f"--inbound-port={INBOUND}", f"--outbound-port={OUTBOUND}"]
    words += [f"{name}={','.join(map(str, dict.fromkeys(values)))}" for name, values in skipped if values]
    return {
        "name": CAPTURE,
        "image": options.image,
        "imagePullPolicy": options.image_pull_policy,
        "command": [*RUN, *words],
        # What it needs for 50 ms; a pod counts the largest of its init containers, so this is never added up.
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            **_LOCKED,
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def proxy(options: Options, asked: Asked, probes: Probes = MappingProxyType({})) -> dict[str, Any]:
    """The proxy. It is ready when it serves a configuration; the operator's health is none of its probes' business.

    `probes`: what it asks the other containers for the kubelet.
    """
    made: dict[str, Any] = {
        "name": PROXY,
        "image": options.image,
        "imagePullPolicy": options.image_pull_policy,
        "restartPolicy": "Always",
        "command": list(RUN),
        "env": environment(options, asked, probes),
        "ports": [{"name": "mesh-metrics", "containerPort": PROBE, "protocol": "TCP"}],
        "securityContext": {
            **_LOCKED,
            "runAsUser": UID,
            "runAsGroup": UID,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": _probe("/readyz", periodSeconds=1, failureThreshold=START_SECONDS),
        "readinessProbe": _probe("/readyz", periodSeconds=2, failureThreshold=3),
        "livenessProbe": _probe("/livez", periodSeconds=10, failureThreshold=6),
        "lifecycle": {"preStop": pre_stop()},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": STATE, "mountPath": STATE_FOLDER},
            {"name": TOKEN, "mountPath": TOKEN_FOLDER, "readOnly": True},
            {"name": BUNDLES, "mountPath": TRUST_FOLDER, "readOnly": True},
        ],
    }
    if resources := _resources(options, asked):
        made["resources"] = resources
    return made


def environment(options: Options, asked: Asked, probes: Probes = MappingProxyType({})) -> list[dict[str, Any]]:
    """The proxy's settings (docs/reference/settings.md)."""
    plain = {
        "SIDEWINDER_DISCOVERY": options.discovery,
        "SIDEWINDER_KEEP": f"{STATE_FOLDER}/kept",
        "SIDEWINDER_IDENTITY": f"{STATE_FOLDER}/identity",
        "SIDEWINDER_TOKEN": f"{TOKEN_FOLDER}/token",
        "SIDEWINDER_BUNDLE": f"{TRUST_FOLDER}/{BUNDLE}",
        "SIDEWINDER_ACCESS_LOG": asked.access_log or options.access_log,
        "SIDEWINDER_LOG_LEVEL": asked.log_level or options.log_level,
        "SIDEWINDER_OTLP_ENDPOINT": options.otlp_endpoint if asked.otlp_endpoint is None else asked.otlp_endpoint,
        "SIDEWINDER_LIMIT_DRAIN_SECONDS": str(asked.drain_seconds or options.drain_seconds),
        VARIABLE: encode(probes),
    }
    of_the_pod = {
        "SIDEWINDER_POD_NAME": "metadata.name",
        "SIDEWINDER_POD_NAMESPACE": "metadata.namespace",
        "SIDEWINDER_POD_UID": "metadata.uid",
    }
    if probes:
        of_the_pod["SIDEWINDER_POD_ADDRESS"] = "status.podIP"
    told = [{"name": name, "value": value} for name, value in plain.items() if value]
    return told + [
        {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
        for name, path in of_the_pod.items()
    ]


def volumes() -> list[dict[str, Any]]:
    """What the proxy keeps, proves itself with, and trusts."""
    token = {"audience": AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": "token"}
    bundle = {"name": TRUST, "items": [{"key": BUNDLE, "path": BUNDLE}]}
    return [
        {"name": STATE, "emptyDir": {"sizeLimit": STATE_SIZE}},
        {"name": TOKEN, "projected": {"defaultMode": 0o644, "sources": [{"serviceAccountToken": token}]}},
        {"name": BUNDLES, "configMap": {"defaultMode": 0o644, **bundle}},
    ]


def pre_stop() -> dict[str, Any]:
    """The hook: a pod is ended at once, and its callers learn of that later; until then it goes on."""
    return {"httpGet": {"path": DRAIN, "port": PROBE, "scheme": "HTTP"}}


def _probe(path: str, **timing: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": PROBE, "scheme": "HTTP"}, "timeoutSeconds": 3, **timing}


def _resources(options: Options, asked: Asked) -> dict[str, Any]:
    """The pod's word counts for each quantity; a request that the limit would contradict follows it."""
    requests: dict[str, str] = dict(options.resources.requests.items())
    limits: dict[str, str] = dict(options.resources.limits.items())
    for name, request, limit in (
        ("cpu", asked.cpu_request, asked.cpu_limit),
        ("memory", asked.memory_request, asked.memory_limit),
    ):
        if request is not None:
            requests[name] = request
        if limit is not None:
            limits[name] = limit
            if request is None:
                requests.pop(name, None)  # Kubernetes then takes the limit for it
        elif request is not None:
            limits.pop(name, None)  # the installation's limit may be below what the pod asks for
    return {what: amounts for what, amounts in (("requests", requests), ("limits", limits)) if amounts}
