"""ApiPolicy: sections, and what they are attached to. `SECTIONS` is all of them by the name users write."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, get_args, get_type_hints

from msgspec import Meta

from sidewinder_operator.resources.adaptive_concurrency import AdaptiveConcurrency
from sidewinder_operator.resources.authentication import Authentication
from sidewinder_operator.resources.authorization import Authorization
from sidewinder_operator.resources.circuit_breaker import CircuitBreaker
from sidewinder_operator.resources.concurrency import Concurrency
from sidewinder_operator.resources.constraints import Rule, distinct, holds
from sidewinder_operator.resources.cors import Cors
from sidewinder_operator.resources.health_check import HealthCheck
from sidewinder_operator.resources.load_balancing import LoadBalancing
from sidewinder_operator.resources.meta import GROUP, Named, ObjectMeta, Strict
from sidewinder_operator.resources.mtls import Mtls
from sidewinder_operator.resources.names import ObjectName, SectionName
from sidewinder_operator.resources.redact import Redact
from sidewinder_operator.resources.retry_constraint import RetryConstraint
from sidewinder_operator.resources.section import Section
from sidewinder_operator.resources.size_limits import SizeLimits

_UNNAMED = ("Mesh", "Namespace")
_GROUPS = {"Mesh": (GROUP,), "ApiRoute": (GROUP,), "Namespace": ("", "core"), "Service": ("", "core")}


class TargetRef(Strict, frozen=True, kw_only=True):
    """What the policy holds for, in the policy's own namespace. The kind implies the group."""

    group: Annotated[
        Literal["", "core", "sidewinder.dev"] | None, Meta(description="Follows from kind and need not be written.")
    ] = None
    kind: Annotated[
        Literal["Mesh", "Namespace", "Service", "ApiRoute"],
        Meta(description="Mesh: all of it, from the operator's namespace only. Namespace: the policy's own."),
    ]
    name: Annotated[ObjectName | None, Meta(description="The object's name; Mesh and Namespace have none.")] = None
    section_name: Annotated[
        SectionName | None, Meta(description="A port's name of a Service, a rule's name of an ApiRoute.")
    ] = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        holds(
            lambda self: (self.name is None) == (self.kind in _UNNAMED),
            "name is required, but for Mesh and Namespace, which have none: they mean the policy's own",
            cel=f"has(self.name) != (self.kind in {list(_UNNAMED)})",
            field="name",
        ),
        holds(
            lambda self: self.section_name is None or self.kind not in _UNNAMED,
            "sectionName is a port of a Service or a rule of an ApiRoute: other kinds have no sections",
            cel=f"!has(self.sectionName) || !(self.kind in {list(_UNNAMED)})",
            field="sectionName",
        ),
        holds(
            lambda self: self.group is None or self.group in _GROUPS[self.kind],
            "the group follows from the kind: leave it out",
            cel="!has(self.group) || (self.kind in ['Mesh', 'ApiRoute'] ? self.group == 'sidewinder.dev'"
            " : self.group in ['', 'core'])",
            field="group",
        ),
    )


class ApiPolicySpec(Strict, frozen=True, kw_only=True):
    """What holds, and for what. Each section is optional."""

    target_refs: Annotated[
        tuple[TargetRef, ...], Meta(min_length=1, max_length=16, description="What the policy holds for: one kind.")
    ]
    retry_constraint: Annotated[RetryConstraint | None, Meta(description="How many retries a backend may be sent.")] = (
        None
    )
    load_balancing: Annotated[LoadBalancing | None, Meta(description="Which endpoint the next request goes to.")] = None
    circuit_breaker: Annotated[CircuitBreaker | None, Meta(description="When an endpoint is left alone.")] = None
    concurrency: Annotated[Concurrency | None, Meta(description="How much one caller asks of it at a time.")] = None
    health_check: Annotated[HealthCheck | None, Meta(description="How endpoints are asked whether they are well.")] = (
        None
    )
    mtls: Annotated[Mtls | None, Meta(description="Whether callers must show a certificate of the mesh.")] = None
    authentication: Annotated[Authentication | None, Meta(description="How callers prove who they are.")] = None
    authorization: Annotated[Authorization | None, Meta(description="Who may call what.")] = None
    cors: Annotated[Cors | None, Meta(description="Who may read answers from a page of another origin.")] = None
    redact: Annotated[Redact | None, Meta(description="What logs and spans do not show.")] = None
    adaptive_concurrency: Annotated[
        AdaptiveConcurrency | None, Meta(description="How many requests an application gets at once, by its latency.")
    ] = None
    size_limits: Annotated[SizeLimits | None, Meta(description="How large requests and answers may be.")] = None


class ApiPolicy(Strict, Named, frozen=True, kw_only=True):
    """Says how what it targets is called and served: a set of sections."""

    KIND: ClassVar[str] = "ApiPolicy"

    metadata: ObjectMeta
    spec: ApiPolicySpec

    def sections(self) -> dict[str, Section]:
        """The sections that are written, by name."""
        written = {name: getattr(self.spec, attribute) for name, (attribute, _) in _FIELDS.items()}
        return {name: section for name, section in written.items() if section is not None}


def _fields() -> dict[str, tuple[str, type[Section]]]:
    """Section name → attribute and type: every field of the spec whose type is a Section."""
    found: dict[str, tuple[str, type[Section]]] = {}
    names = dict(zip(ApiPolicySpec.__struct_fields__, ApiPolicySpec.__struct_encode_fields__, strict=True))
    for attribute, hint in get_type_hints(ApiPolicySpec).items():
        for member in get_args(hint) if isinstance(hint, types.UnionType) else (hint,):
            if isinstance(member, type) and issubclass(member, Section):
                found[names[attribute]] = attribute, member
    return found


_FIELDS = _fields()
SECTIONS: dict[str, type[Section]] = {name: section for name, (_, section) in _FIELDS.items()}


def targets_of(name: str, section: type[Section]) -> Rule:
    """What one section may be attached to."""
    allowed = sorted(section.TARGETS)

    def find(spec: ApiPolicySpec) -> Iterator[str]:
        if getattr(spec, _FIELDS[name][0]) is not None and spec.target_refs[0].kind not in section.TARGETS:
            yield f"{name}: not {spec.target_refs[0].kind}"

    cel = f"!has(self.{name}) || self.targetRefs.all(t, t.kind in {allowed})"
    return Rule(find, f"{name} may be attached to {', '.join(allowed)}", cel, f".{name}")


ApiPolicySpec.RULES = (
    holds(
        lambda self: len({target.kind for target in self.target_refs}) == 1,
        "all targetRefs of a policy must be of one kind",
        cel="self.targetRefs.all(t, t.kind == self.targetRefs[0].kind)",
        field="targetRefs",
    ),
    distinct("targetRefs", "kind", "name", "sectionName"),
    holds(
        lambda self: any(getattr(self, attribute) is not None for attribute, _ in _FIELDS.values()),
        f"a policy needs at least one section: {', '.join(SECTIONS)}",
        cel=" || ".join(f"has(self.{name})" for name in SECTIONS),
        reason="Required",
    ),
    *(targets_of(name, section) for name, section in SECTIONS.items()),
)
