"""Section `redact`, as meant: names in lower case, sorted."""

from __future__ import annotations

import msgspec


class MeshRedact(msgspec.Struct, frozen=True, kw_only=True):
    """JSON pointers are not here: no proxy tells of bodies."""

    headers: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
