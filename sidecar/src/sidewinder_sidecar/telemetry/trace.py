"""W3C trace context: read once per call, written once per try. Called by the exchange; spans are made in `spans`.

A traceparent that is not valid, or comes twice, starts a new trace, and its tracestate goes with it. A root is sampled
by the low 56 bits of its random id, so that proxies with the same share agree; a parent's decision is followed.
"""

from __future__ import annotations

import random
import re
from typing import Final

from sidewinder_sidecar.fields import Fields
from sidewinder_sidecar.messages import Call

TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"

_HEX: Final = b"0123456789abcdef"
_NO_TRACE: Final = b"0" * 32
_NO_SPAN: Final = b"0" * 16
_RANDOM_BITS: Final = 1 << 56  # trace context level 2, section 4.1: the part of the id that must be random
_PER_PERCENT: Final = _RANDOM_BITS / 100

# Trace context section 3.3: 32 members, 512 characters; a key may name its tenant
STATE_LENGTH: Final = 512
STATE_MEMBERS: Final = 32
_MEMBER: Final = re.compile(
    rb"([a-z0-9][a-z0-9_\-*/]{0,240}(?:@[a-z][a-z0-9_\-*/]{0,13})?)=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
).fullmatch

POOL: Final = 8192  # hex digits drawn at a time: 10 ns an id, where one alone costs 350
_source: Final = random.Random()  # of our own: what is drawn in bulk must not shift what others draw from theirs


class _Digits:
    """Random hex digits, drawn in bulk."""

    __slots__ = ("_at", "_drawn")

    def __init__(self) -> None:
        self._at = POOL
        self._drawn = b""

    def take(self, count: int) -> bytes:
        at = self._at
        if at + count > POOL:
            self._drawn = _source.randbytes(POOL // 2).hex().encode()
            at = 0
        self._at = at + count
        return self._drawn[at : at + count]


digits: Final = _Digits()


def start(call: Call, percent: float) -> None:
    """Give the call its trace: the caller's continued, or a new one."""
    fields = call.request.fields
    parent = fields.index.get(TRACEPARENT)
    if parent is not None and valid(parent) and not repeated(fields, TRACEPARENT):
        call.trace_id = parent[3:35]
        call.parent_id = parent[36:52]
        call.sampled = int(parent[53:55], 16) & 1 == 1
        call.span_id = digits.take(16)
        if TRACESTATE in fields.index and not state_valid(fields):
            fields.remove(TRACESTATE)
        return
    call.trace_id = digits.take(32)
    call.span_id = digits.take(16)
    call.parent_id = b""
    call.sampled = percent > 0.0 and int(call.trace_id[18:], 16) < percent * _PER_PERCENT
    if TRACESTATE in fields.index:
        fields.remove(TRACESTATE)


def note(call: Call) -> None:
    """Nobody makes spans here: what the caller sent passes as it is if it is valid, for a parent that is never exported
    would cut the callers' trace in two; what is not valid goes no further. The access log can name the trace.
    """
    fields = call.request.fields
    if TRACEPARENT in fields.index:
        parent = fields.index[TRACEPARENT]
        if valid(parent) and not repeated(fields, TRACEPARENT):
            call.trace_id = parent[3:35]
            call.parent_id = parent[36:52]
            if TRACESTATE not in fields.index or state_valid(fields):
                return
        else:
            fields.remove(TRACEPARENT)
        if TRACESTATE in fields.index:
            fields.remove(TRACESTATE)
    elif TRACESTATE in fields.index:
        fields.remove(TRACESTATE)  # section 3.3: without a traceparent it means nothing


def stamp(call: Call) -> bytes:
    """Write the trace context of one try into the request; its new span id."""
    span_id = digits.take(16)
    value = b"".join((b"00-", call.trace_id, b"-", span_id, b"-01" if call.sampled else b"-00"))
    call.request.fields.set(TRACEPARENT, TRACEPARENT, value)
    return span_id


def valid(parent: bytes) -> bool:
    """Whether a traceparent can be continued. A later version may be longer, behind another dash."""
    if len(parent) != 55:
        if len(parent) < 56 or parent[55] != 0x2D or parent.startswith(b"00"):
            return False
        parent = parent[:55]
    return (
        parent[2] == parent[35] == parent[52] == 0x2D
        and parent.translate(None, _HEX) == b"---"
        and parent[3:35] != _NO_TRACE
        and parent[36:52] != _NO_SPAN
        and not parent.startswith(b"ff")
    )


def repeated(fields: Fields, name: bytes) -> bool:
    """Whether a field came more than once; usually told by two lengths."""
    return len(fields.rows) != len(fields.index) and len(fields.all(name)) > 1


def state_valid(fields: Fields) -> bool:
    """Whether a tracestate, in however many fields, keeps to its bounds."""
    value = b",".join(fields.all(TRACESTATE))
    if len(value) > STATE_LENGTH:
        return False
    members = [member for part in value.split(b",") if (member := part.strip(b" \t"))]
    keys = {found[1] for member in members if (found := _MEMBER(member))}
    return 0 < len(members) <= STATE_MEMBERS and len(keys) == len(members)
