"""What `sidewinder check` looks at: one function a question, each yields findings with what to do. Called by `check`.

Nothing is changed in the cluster: what must be tried is tried as a dry run. `BEFORE` is asked where Sidewinder is not
installed, `AFTER` where it is, `ALWAYS` in both cases.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol

import msgspec

from sidewinder_operator.cli.kubectl import Refused
from sidewinder_operator.resources.crd import DEFINITIONS
from sidewinder_operator.resources.meta import GROUP, VERSION

LEAST = (1, 30)  # ValidatingAdmissionPolicies; native sidecars are older
SKEW_SECONDS = 30.0  # a certificate is backdated by five minutes; tokens and logs suffer earlier
RENEWED_SECONDS = 60.0  # nodes renew their Lease every ten seconds, and are not Ready after forty
Level = Literal["ok", "warning", "error"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `advice` is what to do, empty where nothing is."""

    level: Level
    about: str
    message: str
    advice: str = ""


class Api(Protocol):
    """What `kubectl.Kubectl` gives."""

    def get(self, path: str) -> Any: ...
    def text(self, path: str) -> str: ...
    def find(self, path: str) -> Any | None: ...
    def items(self, path: str) -> Iterator[Any]: ...
    def post(self, path: str, body: Any) -> Any: ...
    def may(self, verb: str, group: str, resource: str) -> bool: ...


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where is looked: the operator's namespace, the time here, and the version of this command."""

    namespace: str
    now: dt.datetime
    version: str


Check = Callable[[Api, Place], Iterator[Finding]]


def version(api: Api, place: Place) -> Iterator[Finding]:
    """Kubernetes is new enough."""
    told = api.get("/version")
    found = tuple(int(re.sub(r"\D.*", "", told[part]) or 0) for part in ("major", "minor"))
    named = told.get("gitVersion", ".".join(map(str, found)))
    if found >= LEAST:
        yield Finding(level="ok", about="Kubernetes", message=f"{named} is new enough")
    else:
        least = ".".join(map(str, LEAST))
        yield Finding(level="error", about="Kubernetes", message=f"{named} is too old",
                      advice=f"upgrade the cluster to {least} or newer")  # fmt: skip


NEEDED = (
    ("create", "", "namespaces"),
    ("create", "apps", "deployments"),
    ("create", "rbac.authorization.k8s.io", "clusterroles"),
    ("create", "apiextensions.k8s.io", "customresourcedefinitions"),
    ("create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("create", "admissionregistration.k8s.io", "validatingadmissionpolicies"),
)


def permissions(api: Api, place: Place) -> Iterator[Finding]:
    """Whoever asks may install."""
    lacking = [f"{verb} {resource}" for verb, group, resource in NEEDED if not api.may(verb, group, resource)]
    if lacking:
        yield Finding(level="error", about="permissions", message=f"you may not {', '.join(lacking)}",
                      advice="have a cluster administrator install the chart")  # fmt: skip
    else:
        yield Finding(level="ok", about="permissions", message="you may install")


def clocks(api: Api, place: Place) -> Iterator[Finding]:
    """Nodes and this machine agree on the time: certificates and tokens are about it."""
    seen = 0
    for lease in api.items("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"):
        renewed = _time(lease["spec"].get("renewTime"))
        if renewed is None:
            continue
        seen += 1
        behind = (place.now - renewed).total_seconds()
        name = lease["metadata"]["name"]
        if behind < -SKEW_SECONDS:
            yield Finding(level="error", about="clock", message=f"the clock of {name} is {-behind:.0f} s ahead of ours",
                          advice="have both synchronise their clocks (NTP)")  # fmt: skip
        elif behind > RENEWED_SECONDS:
            yield Finding(
                level="warning", about="clock",
                message=f"{name} was last heard of {behind:.0f} s ago by our clock",
                advice="if the node is Ready, synchronise its clock or this machine's (NTP)",
            )  # fmt: skip
    if not seen:
        yield Finding(level="warning", about="clock", message="no node has a Lease: clocks were not compared")
    else:
        yield Finding(level="ok", about="clock", message=f"the clocks of {seen} nodes were compared")


def definitions(api: Api, place: Place) -> Iterator[Finding]:
    """Our kinds are served in the version that this command knows."""
    _, _, wanted = VERSION.partition("/")
    for of in DEFINITIONS:
        name = f"{of.plural}.{GROUP}"
        found = api.find(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
        if found is None:
            yield Finding(level="error", about="CRDs", message=f"{name} is missing",
                          advice="helm upgrade with crds.install=true")  # fmt: skip
            continue
        served = [each["name"] for each in found["spec"]["versions"] if each.get("served")]
        established = _condition(found, "Established")
        if wanted not in served or not established:
            more = "" if established else ", and is not established"
            yield Finding(
                level="error", about="CRDs", message=f"{name} serves {', '.join(served) or 'nothing'}{more}",
                advice=f"upgrade the chart to one that serves {wanted}",
            )  # fmt: skip
        else:
            yield Finding(level="ok", about="CRDs", message=f"{name} serves {wanted}")


def replicas(api: Api, place: Place) -> Iterator[Finding]:
    """The operator runs, in this command's version, and not alone."""
    path = f"/apis/apps/v1/namespaces/{place.namespace}/deployments/sidewinder-operator"
    deployment = api.get(path)
    wanted, ready = deployment["spec"].get("replicas", 1), deployment.get("status", {}).get("readyReplicas", 0)
    told = f"{ready} of {wanted} replicas are ready"
    logs = f"kubectl --namespace {place.namespace} describe pods; logs deployment/sidewinder-operator"
    if ready < wanted:
        yield Finding(level="error" if not ready else "warning", about="operator", message=told, advice=logs)
    elif wanted < 2:
        yield Finding(level="warning", about="operator", message="there is one replica: its restart pauses injection",
                      advice="set operator.replicas to 2 or more")  # fmt: skip
    else:
        yield Finding(level="ok", about="operator", message=told)
    running = deployment["metadata"].get("labels", {}).get("app.kubernetes.io/version", "")
    if running != place.version:
        yield Finding(level="warning", about="operator", message=f"it is {running}, this command {place.version}",
                      advice="use the command of the same version")  # fmt: skip


def leader(api: Api, place: Place) -> Iterator[Finding]:
    """Somebody leads: without, statuses and trust bundles stand still."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{place.namespace}/leases/sidewinder-operator"
    lease = api.find(path)
    spec = (lease or {}).get("spec", {})
    holder, renewed = spec.get("holderIdentity") or "", _time(spec.get("renewTime"))
    if holder and renewed is not None and abs((place.now - renewed).total_seconds()) < RENEWED_SECONDS:
        yield Finding(level="ok", about="leader", message=f"{holder} leads")
    else:
        told = f"{holder} leads, but has not said so for a while" if holder else "nobody leads"
        yield Finding(level="error", about="leader", message=f"{told}: statuses and trust bundles stand still",
                      advice=f"kubectl --namespace {place.namespace} logs deployment/sidewinder-operator")  # fmt: skip


def validation(api: Api, place: Place) -> Iterator[Finding]:
    """A route that is tried passes the validating webhook: it is reached, and its certificate is accepted."""
    route = {
        "apiVersion": VERSION,
        "kind": "ApiRoute",
        "metadata": {"name": "sidewinder-check", "namespace": place.namespace},
        "spec": {"parentRefs": [{"kind": "Service", "name": "sidewinder-check"}],
                 "rules": [{"name": "all", "backendRefs": [{"name": "sidewinder-check", "port": 80}]}]},
    }  # fmt: skip
    yield tried(api, f"/apis/{VERSION}/namespaces/{place.namespace}/apiroutes", route, "validation")


def tried(api: Api, path: str, body: Any, about: str) -> Finding:
    """Whether the API server would take this, with all its webhooks."""
    try:
        api.post(f"{path}?dryRun=All", body)
    except Refused as refused:
        if refused.status == 403 and "webhook" not in str(refused):
            return Finding(level="warning", about=about, message=f"it could not be tried: {refused}",
                           advice="check with more rights")  # fmt: skip
        return Finding(
            level="error", about=about, message=str(refused),
            advice="the API server must reach the operator's pods on port 9443 (node firewalls, network policies), and "
            "the leader must have published its trust (see leader)",
        )  # fmt: skip
    return Finding(level="ok", about=about, message="the API server reaches the webhook and accepts its certificate")


def _condition(thing: Any, kind: str) -> bool:
    conditions = (thing.get("status") or {}).get("conditions") or ()
    return any(each["type"] == kind and each["status"] == "True" for each in conditions)


def _time(text: str | None) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


ALWAYS: tuple[Check, ...] = (version, clocks)
BEFORE: tuple[Check, ...] = (permissions,)
AFTER: tuple[Check, ...] = (definitions, replicas, leader, validation)
