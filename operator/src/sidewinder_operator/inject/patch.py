"""The recipe of injection: who gets a proxy, who is refused, and the pod as it will be. Called by `admission`; pure.

Idempotent: what an earlier round has added is taken out and added anew, so that a second round (other webhooks may have
changed the pod meanwhile) changes nothing that is right, and nobody can bring a container of ours along.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from sidewinder_operator.inject import containers, probes
from sidewinder_operator.inject.annotations import DISABLED, INJECTED, LABEL, PREFIX, Asked, Refused, read
from sidewinder_operator.inject.difference import Operation, difference
from sidewinder_operator.inject.options import UID, Options

PART_OF = "app.kubernetes.io/part-of"
ENFORCE = "pod-security.kubernetes.io/enforce"
MIRROR = "kubernetes.io/config.mirror"
_FORBIDDING = frozenset({"baseline", "restricted"})  # Pod Security levels that allow no NET_ADMIN


class Namespace(NamedTuple):
    """Where the pod will be. Its labels are empty when they are not known yet."""

    name: str
    labels: Mapping[str, str]


class Injection(NamedTuple):
    """`passed_over` says why there is nothing to do; `warnings` are shown to whoever makes the pod."""

    patch: tuple[Operation, ...] = ()
    passed_over: str = ""
    warnings: tuple[str, ...] = ()


def inject(pod: dict[str, Any], namespace: Namespace, options: Options) -> Injection:
    """What to change in this pod. Raises Refused."""
    if why := passed_over(pod, namespace, options):
        return Injection(passed_over=why)
    asked = read(_map(pod, "metadata", "annotations"))
    taken = _taken(pod["spec"], options, asked)
    if reasons := (*_refusals(pod, namespace), *taken.refused):
        raise Refused(reasons)
    after = _injected(pod, options, asked, taken)
    return Injection(tuple(difference(pod, after)), warnings=(*_warnings(pod, options, asked), *taken.left))


def passed_over(pod: dict[str, Any], namespace: Namespace, options: Options) -> str:
    """Why this pod gets no proxy; "" if it gets one. The webhook's selectors say the same, and may be edited."""
    spec = pod["spec"]
    labels, marks = _map(pod, "metadata", "labels"), _map(pod, "metadata", "annotations")
    reasons = {
        f"the namespace {namespace.name} is the system's": namespace.name in options.system_namespaces,
        f"it has the label {LABEL}: {DISABLED}": labels.get(LABEL) == DISABLED,
        "it is a part of Sidewinder itself": labels.get(PART_OF) == "sidewinder",
        "it is in its node's network, where nothing can be redirected for it alone": bool(spec.get("hostNetwork")),
        "it is for Windows": _map(pod, "spec", "os").get("name") == "windows",
        "it is the mirror of a static pod": MIRROR in marks,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _refusals(pod: dict[str, Any], namespace: Namespace) -> Iterator[str]:
    if (level := namespace.labels.get(ENFORCE)) in _FORBIDDING:
        yield (
            f"namespace {namespace.name} enforces Pod Security {level}, which forbids the capability NET_ADMIN that "
            f"{containers.CAPTURE} needs: set its label {ENFORCE} to privileged (warn and audit may stay {level}), or "
            f"keep the pod out of the mesh with the label {LABEL}: {DISABLED}"
        )
    if _map(pod, "spec", "securityContext").get("runAsUser") == UID:
        yield f"spec.securityContext.runAsUser: {UID} is the proxy's own user id: choose another"
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(_others(pod["spec"], kind)):
            where = f"spec.{kind}[{index}] ({container.get('name', '')})"
            if _map(container, "securityContext").get("runAsUser") == UID:
                yield f"{where}: runAsUser {UID} is the proxy's own user id: choose another"
            for port in container.get("ports") or ():
                if port.get("containerPort") in containers.OWN_PORTS and port.get("protocol", "TCP") == "TCP":
                    yield f"{where}: port {port['containerPort']} is the proxy's: choose another"
            for mount in container.get("volumeMounts") or ():
                if mount.get("name") in containers.OWN_VOLUMES:
                    yield f"{where}: the volume {mount['name']} is the proxy's alone"


def _warnings(pod: dict[str, Any], options: Options, asked: Asked) -> Iterator[str]:
    grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
    drain = asked.drain_seconds or options.drain_seconds
    if isinstance(grace, int) and 0 < grace <= drain:
        yield (
            f"spec.terminationGracePeriodSeconds: {grace} s end before the proxy's {drain} s of draining: requests may "
            f"be cut off; set it above, or the annotation {PREFIX}drain-seconds below"
        )


def _taken(spec: dict[str, Any], options: Options, asked: Asked) -> probes.Taken:
    """The pod's own containers, with their probes handed to the proxy."""
    others = {field: _others(spec, field) for field in ("initContainers", "containers")}
    earlier = probes.handed(spec.get("initContainers") or (), containers.PROXY)
    return probes.take(
        others, earlier, {*options.exclude_inbound_ports, *asked.exclude_inbound_ports}, asked.rewrite_probes
    )


def _injected(pod: dict[str, Any], options: Options, asked: Asked, taken: probes.Taken) -> dict[str, Any]:
    spec, apps = pod["spec"], taken.containers["containers"]
    own_before = pod.get("metadata", {}).get("annotations", {}) or {}
    changed = {
        **spec,
        "initContainers": [
            containers.capture(options, asked),
            containers.proxy(options, asked, taken.probes),
            *taken.containers["initContainers"],
        ],
        "containers": [_told_late(container) for container in apps] if asked.pre_stop else apps,
        "volumes": [*_others(spec, "volumes"), *containers.volumes()],
    }
    mark = msgspec.json.encode({"image": options.image}).decode()
    metadata = {**(pod.get("metadata") or {}), "annotations": {**own_before, INJECTED: mark}}
    return {**pod, "metadata": metadata, "spec": changed}


def _told_late(container: dict[str, Any]) -> dict[str, Any]:
    """A container without a hook of its own gets ours: else it would end while others still call it."""
    lifecycle = container.get("lifecycle") or {}
    if lifecycle.get("preStop"):
        return container
    return {**container, "lifecycle": {**lifecycle, "preStop": containers.pre_stop()}}


def _others(spec: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Without what is ours."""
    own = containers.OWN_VOLUMES if kind == "volumes" else containers.OWN_CONTAINERS
    return [each for each in spec.get(kind) or () if each.get("name") not in own]


def _map(thing: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """The object at this path; empty where there is none, or null."""
    for name in path:
        thing = thing.get(name) or {}
    return thing
