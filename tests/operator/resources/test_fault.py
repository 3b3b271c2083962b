"""fault: what goes wrong, how often, and until when."""

from __future__ import annotations

import pytest

from sidewinder_operator.resources.fault import moment
from sidewinder_operator.resources.read import read
from sidewinder_sidecar.filters.fault import LONGEST
from tests.support.refusals import rule


def problems(fault: object) -> dict[str, str]:
    """Field below the fault → reason."""
    found = read(rule(filters=[{"type": "Fault", "fault": fault}])).problems
    return {each.field.rpartition("fault")[2]: each.reason for each in found}


DELAY = {"duration": "300ms", "percent": 1}


@pytest.mark.parametrize(
    "fault",
    [
        {"delay": DELAY},
        {"delay": {"duration": f"{LONGEST:g}s", "percent": 1}},
        {"abort": {"statusCode": 599, "percent": 100}},
        {"abort": {"reset": True, "fraction": {"numerator": 1}}},
        {"headers": "Allow"},
        {"delay": DELAY, "expires": "2099-12-31T00:00:00Z"},
        {"delay": DELAY, "expires": "2096-02-29T23:59:59.123456789+05:30"},
    ],
    ids=repr,
)
def test_what_is_right(fault: dict[str, object]) -> None:
    assert problems(fault) == {}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({}, {".delay": "Required"}),
        ({"headers": "Ignore"}, {".delay": "Required"}),
        ({"delay": {"duration": "1s"}}, {".delay.percent": "Required"}),
        ({"delay": {"duration": "31s", "percent": 1}}, {".delay.duration": "OutOfRange"}),
        ({"delay": {"duration": "0s", "percent": 1}}, {".delay.duration": "OutOfRange"}),
        ({"abort": {"percent": 1}}, {".abort.statusCode": "Invalid"}),
        ({"abort": {"percent": 1, "statusCode": 503, "reset": True}}, {".abort.statusCode": "Invalid"}),
        ({"abort": {"statusCode": 503}}, {".abort.percent": "Required"}),
        ({"abort": {"statusCode": 199, "percent": 1}}, {".abort.statusCode": "OutOfRange"}),
        ({"delay": DELAY, "expires": "2099-02-30T00:00:00Z"}, {".expires": "Invalid"}),
        ({"delay": DELAY, "expires": "2099-12-31"}, {".expires": "Invalid"}),
        ({"delay": DELAY, "expires": "2099-12-31T00:00:00"}, {".expires": "Invalid"}),
    ],
    ids=repr,
)
def test_what_is_wrong(fault: dict[str, object], expected: dict[str, str]) -> None:
    assert problems(fault) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("1970-01-01T01:00:10+01:00", 10.0),
        ("1970-01-01T00:00:01.987654321Z", 1.0),
        ("2100-02-29T00:00:00Z", None),
    ],
)
def test_a_time(written: str, expected: float | None) -> None:
    assert moment(written) == expected
