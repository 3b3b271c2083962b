"""One case of the chaos run: load before, in and after a fault, and what became of it. For tests and `make chaos`."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from tests.chaos.bed import ENDPOINTS, TRY_SECONDS, Bed, bed, left_behind
from tests.chaos.load import Sample, percentile
from tests.chaos.matrix import Case
from tests.chaos.mesh import Mesh, mesh
from tests.chaos.network import network

BAD_SECONDS = 0.6  # two tries of a quarter of a second and a pause: who needs longer was not helped


class Times(msgspec.Struct, frozen=True):
    """Seconds before, in and after the fault. `slack`: how many times longer than it should a recovery may take."""

    before: float
    fault: float
    after: float
    slack: float = 1.0


TRIES = 3  # of a case whose run says nothing, because the machine stood still
SHORT = Times(0.5, 2.5, 2.0, slack=2.0)  # on machines that run other tests as well
LONG = Times(2.0, 6.0, 4.0)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a case. Times in seconds; `adapted`: from the fault's begin to the last request that suffered from
    it while it lasted; `recovered`: the same from its end."""

    name: str
    sent: int
    failed: int
    wrong: dict[str, int]
    retried: int
    stale: int
    before: float
    during: float
    after: float
    adapted: float
    recovered: float
    memory: tuple[float, float]  # MB: at the beginning, the most
    lost: str
    percent: float  # of requests that may fail
    recovery: float  # seconds that it may take
    grows: float  # MB that the sidecar may take more
    notes: tuple[str, ...] = ()
    left: tuple[str, ...] = ()  # what the sidecar shows after all that and should not
    late: float = 0.0  # seconds that the load itself stood still at the most

    @property
    def stalled(self) -> bool:
        """Whether the machine had no time for whole tries: then figures say nothing of the mesh."""
        return max(self.late, self.before) > TRY_SECONDS / 2

    @property
    def faults(self) -> list[str]:
        """What is not as it should be."""
        found = []
        if self.failed > self.sent * self.percent / 100:
            found.append(f"{self.failed} of {self.sent} requests failed: {self.wrong}")
        if self.recovered > self.recovery:
            found.append(f"requests suffered {self.recovered:.1f} s after its end")
        if self.memory[1] - self.memory[0] > self.grows:
            found.append(f"the sidecar has grown from {self.memory[0]:.0f} to {self.memory[1]:.0f} MB")
        return [*found, *self.left]


def judged(
    case: Case, samples: Iterable[Sample], began: float, ended: float, slack: float = 1.0, **more: object
) -> Result:
    """What samples tell of a fault from `began` to `ended`."""
    ordered = sorted(samples)
    before = [one for one in ordered if one.began < began]
    during = [one for one in ordered if began <= one.began < ended]
    after = [one for one in ordered if one.began >= ended]
    wrong = Counter(one.wrong for one in ordered if one.wrong)
    return msgspec.convert(
        {
            "name": case.name, "lost": case.lost, "percent": case.percent,
            "recovery": case.recovery * slack, "grows": case.grows,
            "sent": len(ordered), "failed": wrong.total(), "wrong": dict(wrong),
            "before": percentile(before), "during": percentile(during), "after": percentile(after),
            "adapted": last_bad(during, began), "recovered": last_bad(after, ended), **more,
        },
        Result,
    )  # fmt: skip


def last_bad(samples: Iterable[Sample], since: float) -> float:
    """When the last request ended that failed or was slow, in seconds since then; 0 where there was none."""
    bad = (one.began + one.seconds - since for one in samples if one.wrong or one.seconds > BAD_SECONDS)
    return max(bad, default=0.0)


def patiently(case: Case, times: Times) -> Result:
    """The first run on a machine that had time for it, or the last one. Raises NotRun."""
    for _ in range(TRIES):
        with tempfile.TemporaryDirectory() as folder:
            result = run(case, Path(folder), times)
        if not (result.faults and result.stalled):
            break
    return result


def run(case: Case, folder: Path, times: Times = SHORT) -> Result:
    """The whole case, on a bed of its own. Raises NotRun."""
    with network(ENDPOINTS if case.mesh is None else 0) as place:
        if case.mesh is not None:
            with mesh(folder, case.mesh) as whole:
                return _broken(case, whole, times)
        with bed(folder, case, place) as made:
            return _broken(case, made, times)


def _broken(case: Case, made: Bed | Mesh, times: Times) -> Result:
    load = made.load
    assert load is not None
    made.world.loop.call_soon_threadsafe(load.start)
    time.sleep(times.before)
    memory, retried = made.memory(), made.retried()
    began = time.monotonic()
    case.act(made, lambda share: time.sleep(share * times.fault))
    ended = made.mended or time.monotonic()
    time.sleep(times.after)
    made.world.do(load.stop())
    return judged(
        case, load.samples, began, ended, times.slack,
        retried=made.retried() - retried, stale=load.stale, memory=(memory, made.memory("VmHWM")),
        notes=tuple(made.notes), late=load.late, left=tuple(left_behind(made.metric)),
    )  # fmt: skip
