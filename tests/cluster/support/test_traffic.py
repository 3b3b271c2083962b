"""What is read from a load client's output."""

from __future__ import annotations

import json

import pytest

from tests.cluster.bed.waiting import BedError
from tests.cluster.support.traffic import parse

SUMMARY = json.dumps({"requests": 3, "failures": 1, "versions": {"v1": 2}})


def test_failures_and_the_summary() -> None:
    result = parse(f'{{"failure": "timeout"}}\n{SUMMARY}\n')
    assert (result.requests, result.versions) == (3, {"v1": 2})
    assert result.failures_told == ['{"failure": "timeout"}']
    with pytest.raises(AssertionError, match="timeout"):
        result.assert_no_failures()
    with pytest.raises(AttributeError):
        result.unknown


@pytest.mark.parametrize("log", ["", "Traceback\nValueError: x", '{"failure": "timeout"}', "[]"])
def test_an_end_without_a_summary_is_an_error(log: str) -> None:
    with pytest.raises(BedError, match="without a summary"):
        parse(log)


def test_a_run_that_sent_nothing_proves_nothing() -> None:
    with pytest.raises(AssertionError, match="sent nothing"):
        parse('{"requests": 0, "failures": 0}').assert_no_failures()
