"""What became of the copies of each mirror: counts, and the latest answers that differed. It outlives the plan.

Kept in the process's `means`, told by `shadow`, shown by `main/mirrors` as `/mirror` and as metrics.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from sidewinder_sidecar.means import Means

MEMORY: Final = "mirror"  # where `means` keeps it
MOST: Final = 256  # mirrors told apart, the ones configured last: rules come and go in a process that lives for months
MOST_SAMPLES: Final = 8  # of one mirror, the latest: 2 KB each
LONGEST_PATH: Final = 256

# What can become of a copy, in the order in which it is shown.
RESULTS: Final = (
    "answered",
    "failed",  # no whole answer
    "late",  # none within `shadow.LIMIT`
    "no_endpoints",
    "too_large",  # the request's body, so there was no copy
    "busy",  # too many at once, so there was none
    "left",  # the request never was whole
    "skipped",  # an upgrade, or a copy itself
)

Place: TypeAlias = tuple[str, str, str]  # route, rule, backend


class Tally:
    """One mirror's. `differing` counts by what differs; an answer may differ in more than one."""

    __slots__ = ("_clock", "differing", "results", "same", "samples", "unlike", "unsettled")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.results: dict[str, int] = {}
        self.same = 0
        self.unlike = 0
        self.unsettled = 0  # the original had no whole answer to compare with
        self.differing: dict[str, int] = {}
        self.samples: deque[dict[str, Any]] = deque(maxlen=MOST_SAMPLES)

    def count(self, result: str) -> None:
        """One more of RESULTS."""
        self.results[result] = self.results.get(result, 0) + 1

    def uncompared(self) -> None:
        """There was nothing to compare with."""
        self.unsettled += 1

    def compared(self, differences: dict[str, Any], method: bytes, path: bytes, request_id: bytes) -> None:
        """Both answers are there. By `request_id` the access logs of both backends have them."""
        if not differences:
            self.same += 1
            return
        self.unlike += 1
        for what in differences:
            self.differing[what] = self.differing.get(what, 0) + 1
        self.samples.append(
            {
                "time": round(self._clock(), 3),
                "method": method.decode("latin-1"),
                "path": path[:LONGEST_PATH].decode("utf-8", "backslashreplace"),
                "request_id": request_id.decode("latin-1"),
                **differences,
            }
        )

    def __repr__(self) -> str:
        return f"<Tally {self.results} {self.same} same, {self.unlike} unlike>"


def of(means: Means, route: str, rule: str, backend: str) -> Tally:
    """The tally of a place, as it was before if it is known."""
    kept: OrderedDict[Place, Tally] | None = means.memory.get(MEMORY)
    if kept is None:
        kept = means.memory[MEMORY] = OrderedDict()
    place = route, rule, backend
    if place not in kept:
        kept[place] = Tally(means.clock)
    kept.move_to_end(place)
    while len(kept) > MOST:
        kept.popitem(last=False)
    return kept[place]


def every(means: Means) -> Iterable[tuple[Place, Tally]]:
    """All of them, oldest first."""
    kept: OrderedDict[Place, Tally] | None = means.memory.get(MEMORY)
    return () if kept is None else tuple(kept.items())
