"""What `sidewinder check` says about pods: uninjected, outdated and unready proxies; the webhooks.

Called by `check`, beside `findings`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

from sidewinder_operator.authority.webhooks import CONFIGURATIONS, trusted
from sidewinder_operator.cli.certificates import certificates
from sidewinder_operator.cli.findings import Api, Check, Finding, Place, tried
from sidewinder_operator.inject.annotations import ENABLED, INJECTED, LABEL
from sidewinder_operator.inject.containers import PROXY
from sidewinder_operator.inject.options import Options
from sidewinder_operator.inject.patch import Namespace, passed_over

SOON = dt.timedelta(days=30)
NAMED = 5  # pods of a kind that are named; the rest is counted


def webhooks(api: Api, place: Place) -> Iterator[Finding]:
    """Both configurations are there, trust somebody, and will for a while."""
    for path in CONFIGURATIONS:
        name = path.rpartition("/")[2]
        found = api.find(path)
        if found is None:
            yield Finding(level="error", about="webhooks", message=f"{name} is missing", advice="helm upgrade")
            continue
        for hook, roots in trusted(found).items():
            if not roots:
                yield Finding(level="error", about="webhooks", message=f"{hook} trusts nobody: it cannot be called",
                              advice="the leader publishes its trust within ten seconds: see leader")  # fmt: skip
                continue
            end = min(root.not_valid_after_utc for root in roots)
            if end - place.now < SOON:
                yield Finding(level="warning", about="webhooks", message=f"a root of {hook} ends on {end:%Y-%m-%d}",
                              advice="sidewinder rotate-root")  # fmt: skip
            else:
                yield Finding(level="ok", about="webhooks", message=f"{hook} trusts {len(roots)} root(s)")


def pods(api: Api, place: Place) -> Iterator[Finding]:
    """Each enabled namespace: is it tried, and are its pods as they should be?"""
    options = _options(api, place)
    enabled = [each for each in api.items("/api/v1/namespaces") if _labels(each).get(LABEL) == ENABLED]
    if not enabled:
        yield Finding(level="warning", about="injection", message="no namespace is enabled",
                      advice=f"kubectl label namespace NAME {LABEL}={ENABLED}")  # fmt: skip
    for each in enabled:
        name = each["metadata"]["name"]
        if name in options.system_namespaces:
            yield Finding(level="warning", about=f"namespace {name}", message="it is labelled, and never injected",
                          advice=f"take the label {LABEL} away")  # fmt: skip
            continue
        yield from _namespace(api, name, options, place.now)


def _namespace(api: Api, name: str, options: Options, now: dt.datetime) -> Iterator[Finding]:
    without, outdated, unready, good = [], [], [], []
    for pod in api.items(f"/api/v1/namespaces/{name}/pods"):
        if pod["status"].get("phase") in ("Succeeded", "Failed") or pod["metadata"].get("deletionTimestamp"):
            continue
        who = pod["metadata"]["name"]
        if not any(each["name"] == PROXY for each in pod["spec"].get("initContainers") or ()):
            if not passed_over(pod, Namespace(name, {}), options):
                without.append(who)
            continue
        good.append(who)
        if _injected(pod) != options.image:
            outdated.append(who)
        if not _ready(pod):
            unready.append(who)
    about = f"namespace {name}"
    restart = f"kubectl --namespace {name} rollout restart deployment"
    rows: tuple[tuple[list[str], str, str], ...] = (
        (without, "without a proxy", restart),
        (outdated, "with an older proxy", restart),
        (unready, "whose proxy is not ready", f"kubectl --namespace {name} logs POD --container {PROXY}"),
    )
    for found, what, advice in rows:
        if found:
            yield Finding(level="warning", about=about, message=f"{_named(found)} {what}", advice=advice)
    yield Finding(level="ok", about=about, message=f"{len(good)} pods have a proxy")
    yield from certificates(api, name, [who for who in good if who not in unready], now)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sidewinder-check", "namespace": name},
           "spec": {"containers": [{"name": "none", "image": "none"}]}}  # fmt: skip
    yield tried(api, f"/api/v1/namespaces/{name}/pods", pod, about)


def _options(api: Api, place: Place) -> Options:
    found = api.find(f"/api/v1/namespaces/{place.namespace}/configmaps/sidewinder-injection") or {}
    data = json.loads((found.get("data") or {}).get("injection.json", "{}"))
    return Options(image=data.get("image", ""), system_namespaces=tuple(data.get("systemNamespaces", ())))


def _injected(pod: Any) -> str:
    """The image that the injector gave it."""
    try:
        return str(json.loads((pod["metadata"].get("annotations") or {}).get(INJECTED, "{}")).get("image", ""))
    except (ValueError, AttributeError):
        return ""


def _ready(pod: Any) -> bool:
    statuses = pod["status"].get("initContainerStatuses") or ()
    return any(each["name"] == PROXY and each.get("ready") for each in statuses)


def _labels(thing: Any) -> dict[str, str]:
    return thing["metadata"].get("labels") or {}


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} pods ({', '.join(sorted(names)[:NAMED])}{more})"


CHECKS: tuple[Check, ...] = (webhooks, pods)
