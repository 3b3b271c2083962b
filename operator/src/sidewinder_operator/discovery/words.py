"""What proxies said of endpoints and do not take back, though their streams have ended; or said first of all, before
they have acknowledged anything. Held on for a moment by `acks`.

A replica of the operator that restarts cuts a share of all streams. Its proxies are back within seconds, checked on
meanwhile and know what they knew; without this, endpoints that are unwell would be called by everybody until then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

WORD_SECONDS = 30.0  # a proxy tries again after 15 s at the most, and needs a moment to be listened to


class Timer(Protocol):
    """What was to come later, and need not."""

    def cancel(self) -> None: ...


def _later(seconds: float, call: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, call)


class Words:
    """Workload → endpoint → whether it is well. `changed` is called when somebody's time is over."""

    def __init__(self, changed: Callable[[], None], later: Callable[[float, Callable[[], None]], Timer]) -> None:
        self._changed = changed
        self._later = later
        self._held: dict[str, tuple[Mapping[str, bool], Timer]] = {}

    @classmethod
    def of_loop(cls, changed: Callable[[], None]) -> Words:
        """By the clock of the loop that runs."""
        return cls(changed, _later)

    def hold(self, workload: str, said: Mapping[str, bool]) -> None:
        """Its stream has ended, or has just begun."""
        self.drop(workload)
        if said:
            self._held[workload] = said, self._later(WORD_SECONDS, lambda: self._over(workload))

    def drop(self, workload: str) -> Mapping[str, bool]:
        """It is here again, or will not be. Returns what was held."""
        if (known := self._held.pop(workload, None)) is None:
            return {}
        known[1].cancel()
        return known[0]

    def keep(self, workloads: Mapping[str, object]) -> None:
        """Nobody else's."""
        for workload in self._held.keys() - workloads.keys():
            self.drop(workload)

    def held(self) -> dict[str, Mapping[str, bool]]:
        """All that holds."""
        return {workload: said for workload, (said, _) in self._held.items()}

    def _over(self, workload: str) -> None:
        self.drop(workload)
        self._changed()

    def __repr__(self) -> str:
        return f"<Words of {len(self._held)}>"
