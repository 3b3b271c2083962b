"""Section `cors`, as meant."""

from __future__ import annotations

import msgspec


class MeshCors(msgspec.Struct, frozen=True, kw_only=True):
    """Origins as browsers write them: lower case, without the scheme's own port."""

    allow_origins: tuple[str, ...]
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    max_age: int = 5
