"""Section `authentication`, as meant: providers with their Secrets read and their keys found.

A provider means exactly what is sent, so the snapshot's own types stand for it; JWT alone has nouns of its own.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from sidewinder_operator.mesh.jwt import MeshJwt
from sidewinder_sidecar.snapshot.authentication import (
    ApiKeyProvider,
    BasicProvider,
    CredentialsSpec,
    ExternalProvider,
    IntrospectionProvider,
)


class MeshAuthentication(msgspec.Struct, frozen=True, kw_only=True):
    """`secrets` are what the providers name: they go to the proxies that enforce this, and to nobody else."""

    credentials: Literal["Optional", "Required"] = "Required"
    require: Literal["Any", "All"] = "Any"
    providers: tuple[MeshJwt | ApiKeyProvider | BasicProvider | IntrospectionProvider | ExternalProvider, ...] = ()
    secrets: tuple[CredentialsSpec, ...] = ()

    def __repr__(self) -> str:
        return f"<MeshAuthentication {len(self.providers)} providers [redacted]>"
