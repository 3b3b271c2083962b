"""One object, as YAML or JSON gave it, becomes a frozen resource or a list of problems. Never raises, never guesses.

Called by `local.files`, by the reflectors and by admission. A good object costs one pass of msgspec and its rules; only
a refused one is walked slowly (`shape`), so that all its mistakes are told at once.
"""

from __future__ import annotations

import difflib
from typing import Any, NamedTuple

import msgspec

from sidewinder_operator.problems import Problem, Reference
from sidewinder_operator.resources import KINDS, Object, unbuilt
from sidewinder_operator.resources.check import check
from sidewinder_operator.resources.meta import GROUP, IGNORED_METADATA, ObjectMeta
from sidewinder_operator.resources.policy import SECTIONS, ApiPolicySpec
from sidewinder_operator.resources.shape import MOST, Enough, Fault, Faults, examine, nearest

_SECTIONS = SECTIONS.keys() | unbuilt.FIELDS[ApiPolicySpec]
_VERSIONS = {kind: version for version, kind in KINDS}
_GROUPS = sorted({version.rpartition("/")[0] for version in _VERSIONS.values()} | {""})
_METADATA = IGNORED_METADATA | set(ObjectMeta.__struct_encode_fields__)
_ENVELOPE = frozenset(
    {"apiVersion", "kind", "status"}
)  # the status is ours to write: what a file brings along counts not
# Kinds that live beside ours in every folder of manifests and mean nothing here.
PASSED_OVER = frozenset({
    "ClusterRole", "ClusterRoleBinding", "CronJob", "CustomResourceDefinition", "DaemonSet", "Deployment", "Endpoints",
    "HorizontalPodAutoscaler", "Ingress", "IngressClass", "Job", "LimitRange", "NetworkPolicy", "PersistentVolume",
    "PersistentVolumeClaim", "Pod", "PodDisruptionBudget", "ReplicaSet", "ResourceQuota", "Role", "RoleBinding",
    "ServiceAccount", "StatefulSet", "StorageClass",
})  # fmt: skip


class Reading(NamedTuple):
    """`found` is None when the object is refused, or of no kind that means anything here."""

    found: Object | None
    reference: Reference
    problems: list[Problem]

    @property
    def refused(self) -> bool:
        """Whether the object is one of ours and broken: what was good of it before still counts."""
        return any(problem.severity == "Error" for problem in self.problems)


def read(raw: Any) -> Reading:
    """The object that `raw` says, or why it says none."""
    reference = _reference(raw)
    faults = Faults(secret=reference.kind == "Secret")
    found: Object | None = None
    try:
        kind = _kind(raw, faults)
        if kind is not None:
            found = _convert(raw, kind, faults)
    except Enough:
        pass
    return Reading(found, reference, _problems(reference, faults))


def _problems(reference: Reference, faults: list[Fault]) -> list[Problem]:
    return [
        Problem(
            reference=reference,
            field=fault.field,
            reason=fault.reason,
            message=fault.message,
            severity="Warning" if fault.reason == "PassedOver" else "Error",
            section=_section(reference, fault.field),
        )
        for fault in sorted(set(faults))
    ]


def _section(reference: Reference, field: str) -> str:
    """The section of a policy that a field belongs to."""
    name = field.removeprefix("spec.").partition(".")[0] if reference.kind == "ApiPolicy" else ""
    return name if name in _SECTIONS else ""


def _reference(raw: Any) -> Reference:
    """Who it is, as far as it can be told."""
    if not isinstance(raw, dict):
        return Reference("Object", "", "")
    metadata = raw.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    kind, name, namespace = raw.get("kind"), metadata.get("name"), metadata.get("namespace")
    kind = kind[:64] if isinstance(kind, str) and kind else "Object"
    known = KINDS.get((_VERSIONS.get(kind, ""), kind))
    scoped = known is None or known.SCOPED
    default = "default" if scoped else ""
    return Reference(
        kind,
        namespace[:64] if isinstance(namespace, str) and namespace and scoped else default,
        name[:256] if isinstance(name, str) else "",
    )


def _kind(raw: Any, faults: Faults) -> type[Object] | None:
    """The type of the object; None, and why, when there is none."""
    if not isinstance(raw, dict):
        faults.tell("", "WrongType", f"{faults.shown(raw)} is not an object: apiVersion, kind, metadata and spec")
        return None
    version, kind = raw.get("apiVersion"), raw.get("kind")
    for name, value in (("apiVersion", version), ("kind", kind)):
        if not isinstance(value, str) or not value:
            faults.tell(name, "Required", f"{name} is required" if value in (None, "") else f"{name} must be text")
    if faults:
        return None
    version, kind = str(version), str(kind)
    if (found := KINDS.get((version, kind))) is None:
        faults.tell(*_unknown(version, kind, faults))
    return found


def _unknown(version: str, kind: str, faults: Faults) -> Fault:
    # 1 known kind, other version  2 planned  3 somebody else's  4 misspelt
    group = version.rpartition("/")[0]
    if kind in _VERSIONS:
        return Fault(
            "apiVersion", "UnknownVersion", f"{kind} is read as {_VERSIONS[kind]}, not as {faults.shown(version)}"
        )
    if kind in unbuilt.KINDS:
        return Fault("kind", "NotBuilt", f"{kind} is not built yet: take it out")
    if kind in PASSED_OVER or not difflib.get_close_matches(group[:64], _GROUPS, n=1, cutoff=0.8):
        return Fault("kind", "PassedOver", f"{kind} means nothing here and is passed over")
    known = [name for name, owner in _VERSIONS.items() if owner.rpartition("/")[0] == group]
    return Fault("kind", "UnknownKind", f"unknown kind {faults.shown(kind)}{nearest(kind, known or list(_VERSIONS))}")


def _convert(raw: dict[str, Any], kind: type[Object], faults: Faults) -> Object | None:
    read_too = kind.__struct_fields__ if not kind.API_VERSION.startswith(GROUP) else ()  # a Service's addresses
    body = {name: value for name, value in raw.items() if name not in _ENVELOPE or name in read_too}
    metadata = body.get("metadata")
    if kind.API_VERSION.startswith(GROUP) and isinstance(metadata, dict) and not metadata.keys() <= _METADATA:
        for name in metadata:
            if name not in _METADATA:
                faults.tell(
                    f"metadata.{name}",
                    "UnknownField",
                    f"unknown field `{str(name)[:64]}`{nearest(str(name), [*_METADATA])}",
                )
    found: Object
    try:
        found = msgspec.convert(body, kind)
    except (msgspec.ValidationError, UnicodeError) as refusal:
        before = len(faults)
        cleaned = examine(body, kind, faults)
        if len(faults) > before:
            return None
        try:
            found = msgspec.convert(cleaned, kind)  # its nulls were all that was wrong
        except msgspec.ValidationError:
            faults.tell("", "Invalid", str(refusal))
            return None
    for fault in check(found):
        faults.tell(*fault)
    return None if faults else found


__all__ = ["MOST", "PASSED_OVER", "Reading", "read"]
