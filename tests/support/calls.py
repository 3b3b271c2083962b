"""Calls without an exchange, for the tests of filters and telemetry."""

from __future__ import annotations

from typing import Any

from sidewinder_sidecar.fields import Fields, fields
from sidewinder_sidecar.messages import NAMELESS, Call, Peer, Request


class Route:
    """What a Call may know of its route."""

    def __init__(self, name: str = "shop/reviews", rule: str = "everyone") -> None:
        self.name = name
        self.rule = rule


def call(
    target: bytes = b"/",
    *rows: tuple[bytes, bytes],
    method: bytes = b"GET",
    authority: bytes = b"reviews:9080",
    peer: Peer | None = None,
    **more: Any,
) -> Call:
    """A call with every slot set, as the exchange makes it."""
    made = Call()
    made.listener = "inbound"
    made.peer = peer or Peer("192.0.2.7", 40000)
    made.request = Request(method, target, authority, fields(*rows))
    made.cookies = made.taps = ()
    made.attributes = made.captures = made.route = made.tries = made.waiting_on = None
    made.backend = made.service = made.error = made.detail = made.decision = ""
    made.request_id = made.trace_id = made.span_id = made.parent_id = b""
    made.sampled = made.replayable = False
    made.started = made.first_byte = made.ended = 0.0
    made.deadline = float("inf")
    made.address = NAMELESS
    made.bytes_in = made.bytes_out = made.retries = made.status = 0
    for name, value in more.items():
        setattr(made, name, value)
    return made


def rows(found: Fields) -> list[tuple[bytes, bytes]]:
    """Names and values as they will be sent."""
    return [(name, value) for _, name, value in found]
