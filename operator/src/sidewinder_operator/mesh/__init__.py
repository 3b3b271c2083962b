"""What the cluster means: the intermediate representation between what users wrote and what one sidecar must do.

Frozen nouns only. `compile` makes a `Mesh`, `compile.project` cuts each workload's snapshot out of it. Everything is
sorted by name, so that equal clusters give equal meshes byte for byte.
What there are thousands of is `gc=False`: immutable trees hold no cycles, and the collector took a third of compile.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from sidewinder_operator.mesh.health_check import MeshCheck
from sidewinder_operator.mesh.policies import MeshPolicy
from sidewinder_operator.mesh.routes import MeshRoute
from sidewinder_operator.mesh.services import MeshBackend, MeshService
from sidewinder_operator.mesh.workloads import MeshGateway, MeshWorkload

Outbound = Literal["Allow", "Registry"]  # where pods may call: everywhere, or only what the mesh knows


class Mesh(msgspec.Struct, frozen=True, kw_only=True):
    """All of it: workloads and gateways by id, services and routes by "<namespace>/<name>", backends and policies by
    their names. `checks`: workload's id → what it looks after for everybody."""

    workloads: dict[str, MeshWorkload] = {}
    gateways: dict[str, MeshGateway] = {}
    services: dict[str, MeshService] = {}
    backends: dict[str, MeshBackend] = {}
    routes: dict[str, MeshRoute] = {}
    policies: dict[str, MeshPolicy] = {}
    checks: dict[str, tuple[MeshCheck, ...]] = {}
    cluster_domain: str = "cluster.local"
    trace_percent: float = 1.0
    outbound: Outbound = "Allow"
