"""What pybreaker holds for an endpoint: the state of its circuit, and who is told when it moves. Made by `breaker`.

Only `open`, `half_open` and `close` are used of it: its clock is the wall clock, and its wrapper around calls does not
fit a path of callbacks. Counting and time are `breaker`'s. Nobody imports this before a policy asks for breakers: it
costs 10 ms and 0.8 MB. It is no C either, for it extends classes that are none.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from pybreaker import CircuitBreaker, CircuitBreakerListener, CircuitBreakerState, CircuitBreakerStorage


class State(CircuitBreakerStorage):
    """A name, and nothing of what only pybreaker's own counting would need."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        super().__init__("sidewinder")
        self._state = "closed"

    @property
    def state(self) -> str:
        return self._state

    @state.setter
    def state(self, state: str) -> None:
        self._state = state

    @property
    def counter(self) -> int:
        return 0

    @property
    def success_counter(self) -> int:
        return 0

    @property
    def opened_at(self) -> datetime | None:
        return None

    @opened_at.setter
    def opened_at(self, datetime: datetime) -> None:
        """By the wall clock, which may jump: not kept."""

    def increment_counter(self) -> None:
        """Counted by `breaker`."""

    def reset_counter(self) -> None:
        """Counted by `breaker`."""

    def increment_success_counter(self) -> None:
        """One success closes."""

    def reset_success_counter(self) -> None:
        """One success closes."""


class Listener(CircuitBreakerListener):
    """Passes the new state's name on."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def state_change(
        self, cb: CircuitBreaker, old_state: CircuitBreakerState | None, new_state: CircuitBreakerState
    ) -> None:
        """Of any move, told once."""
        self._tell(new_state.name)


def circuit(name: str, tell: Callable[[str], None]) -> CircuitBreaker:
    """A closed one."""
    return CircuitBreaker(state_storage=State(), listeners=[Listener(tell)], name=name)
