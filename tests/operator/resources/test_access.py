"""access: paths in normal form, and conditions that say one thing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidewinder_operator.resources.access import AccessPath, To, When
from sidewinder_operator.resources.check import check


def told(value: Any) -> list[str]:
    return [f"{fault.field} {fault.message}" for fault in check(value)]


PATHS = [
    ("a dot segment", "/a/../b", "write /b"),
    ("a double slash", "/a//b", "write /a/b"),
    ("a needless code", "/%61", "write /a"),
    ("small digits of a code", "/%c3%a4", "write /%C3%A4"),
    ("an encoded slash", "/a%2Fb", "it has an encoded slash"),
    ("a matrix parameter", "/a;b=c", "it has a semicolon"),
    ("a code of a code", "/%252e", "it has a percent-encoded percent code"),
]


@pytest.mark.parametrize(("value", "message"), [each[1:] for each in PATHS], ids=[each[0] for each in PATHS])
def test_a_path_is_in_normal_form(value: str, message: str) -> None:
    (only,) = told(AccessPath(type="PathPrefix", value=value))
    assert only.startswith("value the path must be in normal form")
    assert message in only


@pytest.mark.parametrize("value", ["/", "/a", "/a/", "/a/b.html", "/%C3%A4", "/a:b@c,d=e"])
def test_paths_that_are(value: str) -> None:
    assert told(AccessPath(type="Exact", value=value)) == []


WHEN = [
    ("neither", {"values": ["a"]}, "either claim or header"),
    ("both", {"claim": "a", "header": "b", "values": ["a"]}, "either claim or header"),
    ("In without values", {"claim": "a"}, "In and NotIn need values"),
    ("Exists with values", {"header": "a", "operator": "Exists", "values": ["a"]}, "Exists and NotExists have none"),
    ("the host", {"header": "Host", "values": ["a"]}, "is judged by hosts"),
]


@pytest.mark.parametrize(("written", "message"), [each[1:] for each in WHEN], ids=[each[0] for each in WHEN])
def test_conditions(written: dict[str, Any], message: str) -> None:
    assert any(message in each for each in told(msgspec.convert(written, When)))


def test_conditions_that_are_right() -> None:
    assert told(When(claim="groups", values=("a",))) == []
    assert told(When(header="x-a", operator="NotExists")) == []


def test_what_says_nothing_would_take_everybody() -> None:
    assert told(To()) == [" must say something: nothing at all would take everybody"]
    assert told(To(ports=(80,))) == []
