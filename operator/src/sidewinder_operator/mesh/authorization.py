"""Section `authorization`, as meant: rules with their lists of addresses read.

A rule means exactly what is sent, so the snapshot's own types stand for it.
"""

from __future__ import annotations

import msgspec

from sidewinder_sidecar.snapshot.authorization import AccessRule, Action, AddressesSpec
from sidewinder_sidecar.snapshot.policies import PathNormalization


class MeshAuthorization(msgspec.Struct, frozen=True, kw_only=True):
    """`lists` are those that the rules name."""

    audit: bool = False
    default_action: Action | None = None
    path_normalization: PathNormalization = "Disabled"
    rules: tuple[AccessRule, ...] = ()
    lists: tuple[AddressesSpec, ...] = ()
