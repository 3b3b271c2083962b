"""What policies may use of the process and what they keep there: it outlives every plan. One for each process.

Made with the fleet, filled in by `main`, handed to the builders of filters through `filters.context.Context`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from sidewinder_sidecar.snapshot.authentication import KeysSpec

MOST_COUNTED: Final = 4096  # decisions told apart, 0.5 MB: rules are bounded by what users write, this bounds the rest
OTHER: Final = "other"


class Question(Protocol):
    """What somebody waits for."""

    def cancel(self) -> None: ...


def _unheard(keys: KeysSpec, done: Callable[[KeysSpec | None], None]) -> Question | None:
    """Nobody is there to be told."""
    return None


class Means:
    """`ask` is how an HTTP service is asked (upstream.ask), None where there is none; `unknown_key(keys,
    done)` tells the operator that these keys lack one that a token names: None if it cannot be told now, else `done` is
    called later, with other keys or None."""

    __slots__ = ("ask", "clock", "decisions", "memory", "unknown_key")

    def __init__(self) -> None:
        self.clock: Callable[[], float] = time.time  # wall clock, seconds
        self.ask: Any = None
        self.unknown_key: Callable[[KeysSpec, Callable[[KeysSpec | None], None]], Question | None] = _unheard
        self.decisions: dict[tuple[str, str, str], int] = {}
        self.memory: dict[str, Any] = {}  # by name: what filters keep there; each bounds its own

    def count(self, kind: str, action: str, policy: str) -> None:
        """A policy has decided. `kind` is its section, `policy` is <namespace>/<name>, "" where none has a name."""
        key = (kind, action, policy)
        decisions = self.decisions
        if key in decisions:
            decisions[key] += 1
            return
        if len(decisions) >= MOST_COUNTED:
            key = (kind, action, OTHER)
        decisions[key] = decisions.get(key, 0) + 1

    def counted(self) -> Iterator[tuple[dict[str, str], float]]:
        """For metrics: the labels and the count of each."""
        for (kind, action, policy), count in list(self.decisions.items()):
            yield {"kind": kind, "action": action, "policy": policy}, count

    def __repr__(self) -> str:
        return f"<Means {len(self.decisions)} decisions, {[*self.memory]}>"
