"""x-request-id: kept when it can be one, made when not. Always on; run by the exchange before the rule's filters."""

from __future__ import annotations

import re
from typing import Final

from sidewinder_sidecar.messages import Call
from sidewinder_sidecar.telemetry.trace import digits

NAME: Final = b"x-request-id"

# Visible, without quotes and separators, so that it can stand in a log line or a shell; 128: two UUIDs fit.
_VALID: Final = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}").fullmatch


def apply(call: Call) -> None:
    """Give the call its id, and the upstream the same."""
    fields = call.request.fields
    given = fields.get(NAME)
    if given is not None and _VALID(given) is not None:
        call.request_id = given
        return
    # A trace that began here has an id of its own already; one that came may hold many requests.
    root = call.trace_id and not call.parent_id
    call.request_id = made = call.trace_id if root else digits.take(32)
    fields.set(NAME, NAME, made)
