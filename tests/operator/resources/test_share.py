"""A share is a percent or a fraction, read as a numerator and a denominator."""

from __future__ import annotations

import pytest

from sidewinder_operator.resources.read import read
from sidewinder_operator.resources.share import Fraction, of
from tests.support.refusals import rule


@pytest.mark.parametrize(
    ("percent", "fraction", "expected"),
    [
        (5, None, (5, 100)),
        (0, None, (0, 100)),
        (None, Fraction(numerator=1, denominator=1000), (1, 1000)),
        (None, Fraction(numerator=3), (3, 100)),
        (None, None, (1, 1)),
    ],
)
def test_a_share(percent: int | None, fraction: Fraction | None, expected: tuple[int, int]) -> None:
    assert of(percent, fraction) == expected


@pytest.mark.parametrize(
    ("share", "field", "reason"),
    [
        ({"percent": 5, "fraction": {"numerator": 1}}, "fraction", "Invalid"),
        ({"fraction": {"numerator": 2, "denominator": 1}}, "fraction.numerator", "Invalid"),
        ({"fraction": {"numerator": -1}}, "fraction.numerator", "OutOfRange"),
        ({"fraction": {"numerator": 0, "denominator": 0}}, "fraction.denominator", "OutOfRange"),
        ({"percent": 101}, "percent", "OutOfRange"),
    ],
    ids=["both", "more than there are", "negative", "of none", "101 %"],
)
def test_what_is_no_share(share: dict[str, object], field: str, reason: str) -> None:
    mirror = {"backendRef": {"name": "a", "port": 1}, **share}
    found = read(rule(filters=[{"type": "RequestMirror", "requestMirror": mirror}])).problems
    assert [(each.field.rpartition("requestMirror.")[2], each.reason) for each in found] == [(field, reason)]
