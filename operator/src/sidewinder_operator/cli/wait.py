"""`sidewinder wait`: until every route and policy of these manifests is live in all proxies that need it, as written.

What a pipeline calls after `kubectl apply`. It believes statuses only of the generation that the cluster holds now.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sidewinder_operator.cli.console import Voice
from sidewinder_operator.cli.kubectl import Kubectl
from sidewinder_operator.local.files import Manifests
from sidewinder_operator.problems import Problem, Reference
from sidewinder_operator.resources.policy import ApiPolicy
from sidewinder_operator.resources.route import ApiRoute
from sidewinder_operator.watch.kinds import path_of

LOOK_SECONDS = 0.5  # the operator writes a status at most once a second


class Seen(NamedTuple):
    """How an object stands: live everywhere, or what it waits for."""

    reference: Reference
    live: bool
    told: str


def wanted(paths: Sequence[Path], namespace: str) -> tuple[list[Reference], list[Problem]]:
    """The routes and policies of the manifests; `namespace` is for those that name none."""
    cluster, problems = Manifests(paths).load()
    written: list[ApiRoute | ApiPolicy] = [*cluster.routes.values(), *cluster.policies.values()]
    found = (Reference(each.KIND, each.metadata.namespace or namespace, each.name) for each in written)
    return sorted(found), problems


def wait(
    cluster: Kubectl,
    references: Iterable[Reference],
    seconds: float,
    tell: Callable[[Seen], object],
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Seen]:
    """Those that were not live in time. `tell` hears of each that has become so."""
    until, left = now() + seconds, list(references)
    while True:
        seen = look(cluster, left)
        for each in seen:
            if each.live:
                tell(each)
        behind = [each for each in seen if not each.live]
        if not behind or now() >= until:
            return behind
        left = [each.reference for each in behind]
        sleep(min(LOOK_SECONDS, max(0.0, until - now())))


def look(cluster: Kubectl, references: Iterable[Reference]) -> list[Seen]:
    """How each stands now: one question for each kind and namespace."""
    asked = list(references)
    lists = {path_of(each.kind, each.namespace, "").rstrip("/") for each in asked}
    there: dict[str, Mapping[str, Any]] = {}
    for path in sorted(lists):
        there |= {f"{path}/{item['metadata']['name']}": item for item in cluster.items(path)}
    return [judge(each, there.get(path_of(each.kind, each.namespace, each.name))) for each in asked]


def judge(reference: Reference, item: Mapping[str, Any] | None) -> Seen:
    """Whether an object is live everywhere, as its status says."""
    if item is None:
        return Seen(reference, False, "the cluster has no such object: apply it first")
    generation = item["metadata"].get("generation", 0)
    conditions = {each["type"]: each for each in (item.get("status") or {}).get("conditions") or ()}
    for kind in ("Accepted", "Programmed"):
        condition = conditions.get(kind)
        if condition is None or condition.get("observedGeneration", 0) < generation:
            return Seen(reference, False, f"nobody has looked at generation {generation} yet: does an operator lead?")
        if condition["status"] != "True":
            return Seen(reference, False, f"{condition['reason']}: {condition['message']}")
    return Seen(reference, True, str(conditions["Programmed"]["message"]))


def show(behind: Sequence[Seen], voice: Voice) -> None:
    """What is not live, and why."""
    for each in behind:
        voice.warn(f"{each.reference}: {each.told}")
