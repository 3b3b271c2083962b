"""/mutate: a pod in an enabled namespace gets its proxy, or a reason. Called by `server`; calls `inject`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sidewinder_operator.admission.review import ADMITTED, Answer, Request
from sidewinder_operator.inject.annotations import Refused
from sidewinder_operator.inject.options import Options
from sidewinder_operator.inject.patch import Namespace, inject

Labels = Callable[[str], Mapping[str, str]]  # of a namespace; empty when it is not known (yet)


def mutate(request: Request, options: Options, labels: Labels) -> Answer:
    """Anything but a pod that is being made is admitted as it is."""
    pod = request.object
    if request.operation != "CREATE" or request.kind.kind != "Pod" or request.kind.group or pod is None:
        return ADMITTED
    if not _shaped(pod):
        return Answer(refused="sidewinder: the pod has no spec with a list of containers")
    try:
        injection = inject(pod, Namespace(request.namespace, labels(request.namespace)), options)
    except Refused as refused:
        return Answer(refused="sidewinder cannot inject its proxy: " + "; ".join(refused.reasons))
    if injection.passed_over:
        return Answer(warnings=(f"sidewinder: no proxy is injected: {injection.passed_over}",))
    return Answer(patch=injection.patch, warnings=tuple(f"sidewinder: {each}" for each in injection.warnings))


def _shaped(pod: dict[str, Any]) -> bool:
    """The API server has checked it already; another caller's nonsense must not end as our fault."""
    spec, metadata = pod.get("spec"), pod.get("metadata")
    if not isinstance(spec, dict) or not isinstance(metadata, dict | None):
        return False
    maps = ((metadata or {}).get("annotations"), (metadata or {}).get("labels"), spec.get("securityContext"))
    lists = [spec.get(name) or [] for name in ("containers", "initContainers", "volumes")]
    return (
        all(isinstance(each, dict | None) for each in maps)
        and all(isinstance(each, list) and all(isinstance(item, dict) for item in each) for each in lists)
        and bool(lists[0])
    )
