"""What `/mirror` shows and what metrics say of it: the copies of requests, and where their answers differed.

Asked by `pages`; `filters/mirror/tally` keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidewinder_sidecar.filters.mirror.tally import Place, Tally
    from sidewinder_sidecar.main.process import Process
    from sidewinder_sidecar.telemetry.metrics import Sample


def _every(process: Process) -> Iterable[tuple[Place, Tally]]:
    """Where no rule mirrors, nothing of what mirrors is loaded."""
    means = process.proxy.fleet.means
    if "mirror" not in means.memory:
        return ()
    from sidewinder_sidecar.filters.mirror import tally

    return tally.every(means)


def told(process: Process) -> dict[str, object]:
    """The page."""
    from sidewinder_sidecar.filters.mirror.tally import RESULTS

    return {
        "mirrors": [
            {
                "route": route,
                "rule": rule,
                "backend": backend,
                "copies": {name: one.results[name] for name in RESULTS if name in one.results},
                "compared": {"same": one.same, "different": one.unlike, "unsettled": one.unsettled},
                "differences": one.differing,
                "samples": list(one.samples),
            }
            for (route, rule, backend), one in _every(process)
        ]
    }


def gauges(process: Process) -> None:
    """Register what is read when it is rendered."""
    add = process.metrics.add

    def rows(kind: str, read: Callable[[Tally], dict[str, int]]) -> Callable[[], Iterator[Sample]]:
        def samples() -> Iterator[Sample]:
            for (route, rule, backend), one in _every(process):
                place = {"route": route, "rule": rule, "backend": backend}
                for name, count in read(one).items():
                    yield place | {kind: name}, count

        return samples

    add(
        "mirror_copies_total",
        "counter",
        "Copies of requests, by what became of them.",
        rows("result", lambda one: one.results),
    )
    add(
        "mirror_compared_total",
        "counter",
        "Answers to copies that were held against the callers'.",
        rows("result", lambda one: {"same": one.same, "different": one.unlike, "unsettled": one.unsettled}),
    )
    add(
        "mirror_differences_total",
        "counter",
        "What differed: status, headers, body; one answer may differ in each.",
        rows("what", lambda one: one.differing),
    )
