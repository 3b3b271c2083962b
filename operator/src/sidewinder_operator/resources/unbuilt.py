"""What the API's design has and Sidewinder does not do yet: refused by name, never passed over, never "unknown".

Whoever builds one of these takes its name out of here. Used by `read`.
"""

from __future__ import annotations

import msgspec

from sidewinder_operator.resources.mirror import MirrorRef
from sidewinder_operator.resources.policy import ApiPolicySpec, TargetRef
from sidewinder_operator.resources.route import BackendRef, ParentRef, RouteRule

# type → names of its fields as written
FIELDS: dict[type[msgspec.Struct], frozenset[str]] = {
    RouteRule: frozenset({"rollout"}),
    ApiPolicySpec: frozenset({
        "cache",
        "deprecation", "rateLimit", "transform", "validation",
    }),
}  # fmt: skip

# type → field as written → values
VALUES: dict[type[msgspec.Struct], dict[str, frozenset[str]]] = {
    ParentRef: {"kind": frozenset({"Gateway"}), "group": frozenset({"gateway.networking.k8s.io"})},
    BackendRef: {"kind": frozenset({"Backend"}), "group": frozenset({"sidewinder.dev"})},
    MirrorRef: {"kind": frozenset({"Backend"}), "group": frozenset({"sidewinder.dev"})},
    TargetRef: {"kind": frozenset({"Backend", "Gateway"}), "group": frozenset({"gateway.networking.k8s.io"})},
}

KINDS = frozenset(
    {"Backend", "Gateway", "GatewayClass", "GRPCRoute", "HTTPRoute", "ReferenceGrant", "TCPRoute", "TLSRoute"}
)
