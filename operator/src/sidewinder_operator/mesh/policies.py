"""What a proxy asks of those who call its application, worked out for a port: the server sections that hold there.

Made by `compile.policies`; named by `WorkloadPort.policy` and `MeshWorkload.policy`; cut out by `compile.project`.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from sidewinder_operator.mesh.adaptive_concurrency import MeshAdaptiveConcurrency
from sidewinder_operator.mesh.authentication import MeshAuthentication
from sidewinder_operator.mesh.authorization import MeshAuthorization
from sidewinder_operator.mesh.cors import MeshCors
from sidewinder_operator.mesh.mtls import MeshMtls
from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.mesh.redact import MeshRedact
from sidewinder_operator.mesh.size_limits import MeshSizeLimits

Section = TypeVar("Section")


class Held(msgspec.Struct, Generic[Section], frozen=True):
    """A section and the policy that has it, "<namespace>/<name>"."""

    policy: str
    section: Section


class MeshPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`name` says which scopes it was made of, least specific first: "Mesh+bookinfo+bookinfo/reviews:http".

    `closed` names the broken security sections that never were good: everything is refused. `authorization` is in order
    from the least specific scope to the most specific one.
    """

    name: str
    closed: tuple[str, ...] = ()  # "<namespace>/<policy>/<section>"
    mtls: MeshMtls | None = None
    cors: Held[MeshCors] | None = None
    authentication: tuple[Held[MeshAuthentication], ...] = ()
    authorization: tuple[Held[MeshAuthorization], ...] = ()
    redact: tuple[MeshRedact, ...] = ()
    adaptive_concurrency: tuple[Held[MeshAdaptiveConcurrency], ...] = ()
    size_limits: tuple[Held[MeshSizeLimits], ...] = ()  # the smallest of all holds
    origins: tuple[Origin, ...] = ()  # of all the sections, sorted
