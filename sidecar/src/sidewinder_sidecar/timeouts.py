"""The times at which somebody looks at an exchange: its deadline, a try's end, a retry's pause, stalls, its age.

`Rescue(Timeouts)` says what happens then, `Exchange` fills the slots. An exchange has one entry on the wheel: the first
of all these times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from sidewinder_sidecar.messages import ANSWERING, SENT, Call, Failure
from sidewinder_sidecar.resilience.deadline import SHORTEST

if TYPE_CHECKING:
    from sidewinder_sidecar.messages import Attempt
    from sidewinder_sidecar.proxy import Proxy
    from sidewinder_sidecar.tunnel import Tunnel
    from sidewinder_sidecar.wheel import Slot

EARLY: Final = 2 * SHORTEST  # seconds: an endpoint is told its time rounded down, and begins nothing in the last of it


class Timeouts(Call):
    """What an exchange must know of itself to be looked at."""

    __slots__ = (  # noqa: RUF023 (by question)
        # what is looked at
        "attempt",  # the live try; None before, between and after tries
        "finished",
        "proxy",
        "request_ended",
        "tunnel",
        # when it is looked at again
        "moved",  # what had moved at the last look
        "retry_at",  # inf: no retry is due
        "slot",  # of the wheel
        "stall_at",
        "try_ends",
    )  # fmt: skip

    attempt: Attempt | None
    finished: bool
    proxy: Proxy
    request_ended: bool
    tunnel: Tunnel | None
    moved: int
    retry_at: float
    slot: Slot | None
    stall_at: float
    try_ends: float

    def on_failure(self, failure: Failure) -> None:
        raise NotImplementedError

    def _fail(self, error: str, detail: str = "") -> None:
        raise NotImplementedError

    def _next_try(self, now: float) -> None:
        raise NotImplementedError

    def _safely(self, act: Callable[..., object], *arguments: Any) -> None:
        raise NotImplementedError

    def _look_again(self) -> None:
        """When next? At the first thing that could be due."""
        wheel, tunnel = self.proxy.wheel, self.tunnel
        idle = self.proxy.limits.stall_seconds if tunnel is None else tunnel.idle_seconds
        self.stall_at = wheel.clock() + idle
        if self.slot is not None:
            self.slot.discard(self)
        oldest = self.started + self.proxy.limits.stream_seconds
        self.slot = wheel.at(min(self.deadline, self.try_ends, self.retry_at, self.stall_at, oldest), self)

    def on_time(self, now: float) -> None:
        """The wheel: something may be due."""
        if not self.finished:
            self._safely(self._wake, now)

    def _wake(self, now: float) -> None:
        if now >= self.deadline or now >= self.started + self.proxy.limits.stream_seconds:
            self._fail("deadline", f"{now - self.started:.3f} s are over")
        elif now >= self.retry_at:
            self._next_try(now)
        elif now >= self.try_ends and self.attempt is not None:
            self._give_up("try_timeout")
        elif now >= self.stall_at and self._is_stuck():
            self._fail("idle")
        else:
            self._look_again()

    def _overdue(self) -> str:
        """Is the time over that the endpoint was told, and by which error? Its proxy has a wheel of its own and may be
        the first to say so, by 504 or by breaking its answer off: that is no news, and not its failure."""
        now = self.proxy.clock() + EARLY
        return "" if now < self.try_ends else "deadline" if now >= self.deadline else "try_timeout"

    def _give_up(self, error: str) -> None:
        """The try has taken too long."""
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.cancel(error)
        self.on_failure(Failure(ANSWERING if self.status else SENT, error))

    def _is_stuck(self) -> bool:
        """Did nothing at all move since the last look? Where the caller owes a body, since the one before that: its
        connection looks meanwhile, and knows whether it is the caller who is slow."""
        moved = self.bytes_in + self.bytes_out + self.status + self.retries
        before, self.moved = self.moved, moved
        if before == moved and not self.request_ended and self.tunnel is None:
            self.moved = ~moved  # seen once
            return False
        return before in (moved, ~moved)
