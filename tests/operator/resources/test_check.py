"""check: what does not fit together is told where it stands; each list knows its duplicates."""

from __future__ import annotations

from typing import Any

import pytest

from sidewinder_operator.resources.check import check
from sidewinder_operator.resources.read import read
from tests.support.refusals import ACCEPTED, REFUSALS, Refusal
from tests.support.specimens import specimens


@pytest.mark.parametrize("refusal", REFUSALS, ids=[refusal.id for refusal in REFUSALS])
def test_what_does_not_fit_together_is_told(refusal: Refusal) -> None:
    reading = read(refusal.raw)
    assert reading.found is None
    assert refusal.field in [problem.field for problem in reading.problems]
    (problem, *_) = [problem for problem in reading.problems if problem.field == refusal.field]
    assert problem.reason == refusal.reason
    assert problem.severity == "Error"
    assert len(reading.problems) == 1, reading.problems


@pytest.mark.parametrize("raw", ACCEPTED)
def test_what_is_odd_and_right_passes(raw: dict[str, Any]) -> None:
    assert read(raw).problems == []


def test_a_good_object_has_no_faults() -> None:
    for raw in specimens().values():
        found = read(raw).found
        assert list(check(found)) == []


def test_what_has_nothing_to_check_costs_nothing() -> None:
    found = read(specimens()["ConfigMap"]).found
    assert list(check(found)) == []
