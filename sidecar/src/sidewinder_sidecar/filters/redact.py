"""Leaves with the call what its log line and spans must not show. Made by plan/guards for the section `redact`.

It changes nothing of the request. `telemetry/redact` has what is hidden without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sidewinder_sidecar.messages import Call, Reply, Wait
from sidewinder_sidecar.telemetry.redact import ATTRIBUTE, Redaction

if TYPE_CHECKING:
    from sidewinder_sidecar.snapshot.policies import RedactSpec


def build(spec: RedactSpec) -> Callable[[Call], Reply | Wait | None]:
    """One object for all calls of the port."""
    redaction = Redaction(
        frozenset(name.lower().encode() for name in spec.headers),
        frozenset(name.lower().encode() for name in spec.query),
    )

    def apply(call: Call) -> Reply | Wait | None:
        if call.attributes is None:
            call.attributes = {}
        call.attributes[ATTRIBUTE] = redaction
        return None

    return apply
