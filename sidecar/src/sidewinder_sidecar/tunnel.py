"""What an exchange becomes once both sides have agreed on another protocol (101, CONNECT): bytes both ways.

The exchange goes on relaying; this is what it asks then: has it ended, and does anything still move? A side that has
ended sends no more, the other may go on (half-close). Deadlines of the request do not hold here, only idleness does.
"""

from __future__ import annotations


class Tunnel:
    """Made by the exchange when the tunnel opens. `moved` is the number of bytes both ways when it last looked."""

    __slots__ = ("caller_ended", "idle_seconds", "moved", "upstream_ended")

    def __init__(self, idle_seconds: float) -> None:
        self.idle_seconds = idle_seconds
        self.caller_ended = False
        self.upstream_ended = False
        self.moved = -1  # less than can have moved: the first look always finds it alive

    def has_ended(self) -> bool:
        """Both sides have sent their last byte."""
        return self.caller_ended and self.upstream_ended

    def is_idle(self, moved: int) -> bool:
        """Did nothing move since the last look?"""
        idle = moved == self.moved
        self.moved = moved
        return idle

    def __repr__(self) -> str:
        ends = ("caller ended" * self.caller_ended, "upstream ended" * self.upstream_ended)
        return f"<Tunnel {self.moved} bytes {' '.join(filter(None, ends))}>"
