"""What samples tell of a fault: who failed, who waited, before it, in it and after it."""

from __future__ import annotations

import msgspec
import pytest

from tests.chaos import bed
from tests.chaos.load import Sample
from tests.chaos.matrix import CASES, Case
from tests.chaos.run import BAD_SECONDS, Result, judged, last_bad


def nothing(bed: object, hold: object) -> None: ...


def result(*samples: Sample, notes: tuple[str, ...] = (), **case: object) -> Result:
    """Of a fault from second 10 to second 20."""
    made = Case("endpoint away", nothing, **case)  # type: ignore[arg-type]
    return judged(made, samples, 10.0, 20.0, retried=3, stale=0, memory=(30.0, 31.4), notes=notes)


GOOD = [Sample(float(second), 0.01, "") for second in range(30)]
FAILED = Sample(12.0, 0.2, "status 503")
SLOW = Sample(21.0, 1.0, "")


@pytest.mark.parametrize(
    ("samples", "case", "faults"),
    [
        pytest.param(GOOD, {}, 0, id="nothing"),
        pytest.param([*GOOD, FAILED], {}, 1, id="one-that-could-be-saved"),
        pytest.param([*GOOD, FAILED], {"percent": 5.0, "lost": "so it is"}, 0, id="one-that-could-not"),
        pytest.param([*GOOD, FAILED, FAILED], {"percent": 5.0}, 1, id="too-many"),
        pytest.param([*GOOD, SLOW], {}, 0, id="slow-for-a-moment"),
        pytest.param([*GOOD, SLOW._replace(began=22.0)], {}, 1, id="slow-for-long"),
        pytest.param([*GOOD, FAILED, SLOW._replace(began=23.0)], {}, 2, id="both"),
    ],
)
def test_what_is_a_fault(samples: list[Sample], case: dict[str, object], faults: int) -> None:
    assert len(result(*samples, **case).faults) == faults


def test_memory_has_a_bound() -> None:
    made = result(*GOOD, grows=10.0)
    assert not made.faults
    (fault,) = msgspec.structs.replace(made, memory=(30.0, 40.5)).faults
    assert fault == "the sidecar has grown from 30 to 40 MB"


@pytest.mark.parametrize("name", ["bugs_total", "background_deaths_total", "requests_in_flight"])
def test_what_a_sidecar_should_not_show_afterwards(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bed, "until", lambda holds, *_: holds())
    found = tuple(bed.left_behind(lambda metric: 2.0 * (metric == f"sidewinder_{name}")))
    assert found == (f"{name}: 2",)
    assert msgspec.structs.replace(result(*GOOD), left=found).faults == [f"{name}: 2"]
    assert bed.left_behind(lambda metric: 0.0) == []


def test_a_busy_machine_may_take_longer() -> None:
    late = [*GOOD, SLOW._replace(began=22.0)]
    patient = judged(
        Case("endpoint away", nothing), late, 10.0, 20.0, 2.0, retried=0, stale=0, memory=(1.0, 1.0), notes=()
    )
    assert not patient.faults


def test_figures_of_before_in_and_after() -> None:
    made = result(*GOOD, FAILED, SLOW, Sample(5.0, 0.3, ""))
    assert (made.before, made.during, made.after) == (0.3, 0.2, 1.0)
    assert (made.sent, made.failed, made.wrong) == (33, 1, {"status 503": 1})
    assert made.adapted == pytest.approx(2.2)
    assert made.recovered == pytest.approx(2.0)


def test_suffering_is_a_failure_or_a_wait() -> None:
    assert last_bad([], 0.0) == 0.0
    assert last_bad([Sample(1.0, BAD_SECONDS, "")], 0.0) == 0.0
    assert last_bad([Sample(1.0, BAD_SECONDS + 0.1, ""), Sample(1.5, 0.0, "")], 0.5) == pytest.approx(1.2)


def test_each_fault_has_a_name_of_its_own_and_says_what_it_may_cost() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(bool(case.lost) == bool(case.percent) for case in CASES)
    assert any(case.short for case in CASES)


@pytest.mark.parametrize(
    ("late", "before", "stalled"),
    [
        pytest.param(0.01, 0.01, False, id="neither"),
        pytest.param(0.2, 0.01, True, id="the-load"),
        pytest.param(0.01, 0.2, True, id="what-answers-it"),
    ],
)
def test_a_machine_without_time_is_known(late: float, before: float, stalled: bool) -> None:
    made = result(*GOOD, Sample(5.0, before, ""))
    assert msgspec.structs.replace(made, late=late).stalled == stalled
