"""The time a request has: read from the caller, shortened on the way, written into every try.

Called by the exchange. `x-request-deadline: 1500ms` is the time left (not a time of day: clocks differ), `grpc-timeout`
the same in gRPC's spelling. A caller can only shorten what the route allows. What cannot be read is ignored.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidewinder_sidecar.fields import Fields

HEADER: Final = b"x-request-deadline"
GRPC: Final = b"grpc-timeout"
SHORTEST: Final = 0.001  # seconds: what is written has milliseconds, and a try of less cannot end in time

_DURATION: Final = re.compile(rb"([0-9]{1,9}(?:\.[0-9]{1,9})?)(us|ms|s|m|h)")
_SECONDS: Final = {b"us": 1e-6, b"ms": 1e-3, b"s": 1.0, b"m": 60.0, b"h": 3600.0}
_GRPC_DURATION: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_GRPC_SECONDS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def asked(fields: Fields) -> float | None:
    """The seconds that the caller gives, None if it does not say. With both headers the shorter one holds."""
    index = fields.index
    left = _read(index[HEADER], _DURATION, _SECONDS) if HEADER in index else None
    if GRPC in index:
        other = _read(index[GRPC], _GRPC_DURATION, _GRPC_SECONDS)
        if other is not None and (left is None or other < left):
            return other
    return left


def _read(value: bytes, pattern: re.Pattern[bytes], units: dict[bytes, float]) -> float | None:
    found = pattern.fullmatch(value.strip())
    return None if found is None else float(found[1]) * units[found[2]]


def write(fields: Fields, left: float) -> None:
    """Tell the upstream how long it has. gRPC's header is renewed where there is one, never invented."""
    milliseconds = int(left * 1000)
    fields.set(HEADER, HEADER, b"%dms" % milliseconds)
    if GRPC in fields.index:
        fields.set(GRPC, GRPC, b"%dm" % milliseconds if milliseconds < 100_000_000 else b"%dS" % int(left))
