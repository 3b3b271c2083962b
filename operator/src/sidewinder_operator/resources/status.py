"""What the operator answers in `status`: conditions exactly as Kubernetes has them, and how many proxies have it.

Written by the status writer, read by people and by `kubectl wait`. References are echoed as the user wrote them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from sidewinder_operator.resources.meta import Strict
from sidewinder_operator.resources.policy import TargetRef
from sidewinder_operator.resources.route import ParentRef

_QUALIFIED = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])\Z"
)


class Condition(Strict, frozen=True, kw_only=True):
    """metav1.Condition, field by field."""

    type: Annotated[str, Meta(max_length=316, pattern=_QUALIFIED, description="CamelCase, such as Accepted.")]
    status: Annotated[Literal["True", "False", "Unknown"], Meta(description="Whether it is so.")]
    observed_generation: Annotated[
        int | None,
        Meta(
            description="Which generation of the object this is about.",
            extra_json_schema={"format": "int64", "minimum": 0},
        ),
    ] = None
    last_transition_time: Annotated[
        str, Meta(description="When the status changed last.", extra_json_schema={"format": "date-time"})
    ]
    reason: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=1024,
            pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?\Z",
            description="Why, as one CamelCase word.",
        ),
    ]
    message: Annotated[str, Meta(max_length=32768, description="Why, for people.")]


Conditions = Annotated[
    tuple[Condition, ...], Meta(max_length=8, description="What holds.", extra={"list": "map", "keys": ["type"]})
]


class Proxies(Strict, frozen=True, kw_only=True):
    """How far the object has come."""

    required: Annotated[int, Meta(ge=0, description="Proxies that must have it.")] = 0
    acknowledged: Annotated[int, Meta(ge=0, description="Proxies that have it.")] = 0
    rejected: Annotated[int, Meta(ge=0, description="Proxies that refused it.")] = 0


class ParentStatus(Strict, frozen=True, kw_only=True):
    """What holds for one parent of a route."""

    parent_ref: Annotated[ParentRef, Meta(description="As written in spec.", extra={"echo": True})]
    controller_name: Annotated[str, Meta(min_length=1, max_length=253, description="Who says so.")]
    conditions: Conditions = ()


class AncestorStatus(Strict, frozen=True, kw_only=True):
    """What holds for one target of a policy."""

    ancestor_ref: Annotated[TargetRef, Meta(description="As written in spec.", extra={"echo": True})]
    controller_name: Annotated[str, Meta(min_length=1, max_length=253, description="Who says so.")]
    conditions: Conditions = ()


class ApiRouteStatus(Strict, frozen=True, kw_only=True):
    """What became of it."""

    conditions: Conditions = ()
    parents: Annotated[tuple[ParentStatus, ...], Meta(max_length=32, description="The same for each parent.")] = ()
    proxies: Annotated[Proxies | None, Meta(description="How many proxies have it.")] = None


class EjectedEndpoint(Strict, frozen=True, kw_only=True):
    """An endpoint that callers leave alone, because a circuit breaker has opened."""

    backend: Annotated[str, Meta(max_length=1024, description="What was called, as proxies name it.")]
    endpoint: Annotated[str, Meta(max_length=64, description="Its address and port.")]
    state: Annotated[
        Literal["open", "half-open"], Meta(description="half-open: the next request finds out whether it is well.")
    ]
    since: Annotated[
        str, Meta(description="When the first proxy ejected it.", extra_json_schema={"format": "date-time"})
    ]
    until: Annotated[
        str, Meta(description="When the last proxy tries it again.", extra_json_schema={"format": "date-time"})
    ]
    reason: Annotated[str, Meta(max_length=256, description="What the last proxy saw that ejected it.")]
    proxies: Annotated[int, Meta(ge=1, description="How many proxies have ejected it.")]


class ApiPolicyStatus(Strict, frozen=True, kw_only=True):
    """What became of it."""

    conditions: Conditions = ()
    ancestors: Annotated[tuple[AncestorStatus, ...], Meta(max_length=16, description="The same for each target.")] = ()
    proxies: Annotated[Proxies | None, Meta(description="How many proxies have it.")] = None
    ejected: Annotated[
        tuple[EjectedEndpoint, ...],
        Meta(max_length=32, description="Endpoints that callers leave alone, the first 32."),
    ] = ()


class ExternalWorkloadStatus(Strict, frozen=True, kw_only=True):
    """What became of it."""

    conditions: Conditions = ()
