"""Section `sizeLimits`, as meant."""

from __future__ import annotations

import msgspec


class MeshSizeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes; None: no limit of its own."""

    request_headers: int | None = None
    request_body: int | None = None
    response_body: int | None = None
