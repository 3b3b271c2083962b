"""Section `mtls`, as meant: what a proxy asks of those who connect."""

from __future__ import annotations

from typing import Literal

import msgspec

Mode = Literal["Permissive", "Audit", "Strict"]


class MeshMtls(msgspec.Struct, frozen=True, kw_only=True):
    """`except_ports` are of the pod, sorted. `policy`: whose mode it is, "<namespace>/<name>"; "" not known yet."""

    mode: Mode
    except_ports: tuple[int, ...] = ()
    policy: str = ""
