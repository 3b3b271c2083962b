"""expression: RE2 decides what an expression is, and what its captures are."""

from __future__ import annotations

import pytest

from sidewinder_operator.resources.expression import captures, fault, groups


@pytest.mark.parametrize("pattern", ["", ".*", "/v(?P<a>[12])", "(?i)a", "[[:alpha:]]", r"\pL", "a{1000}", "é"])
def test_what_is_one(pattern: str) -> None:
    assert fault(pattern) == ""


@pytest.mark.parametrize(
    "pattern", ["(", "*", "[", "(?=a)", r"\1", "(?<!a)b", "a{1001}", "(?P<a>x)(?P<a>y)", "(a{1000}){1000}", "\ud800"]
)
def test_what_is_none_says_why(pattern: str) -> None:
    assert fault(pattern)
    assert groups(pattern) == frozenset()


def test_a_program_that_is_too_large_is_refused() -> None:
    assert fault("((a{100}){10}b){10}" * 30)


def test_named_captures() -> None:
    assert groups("(?P<a>x)(y)(?P<b>z)") == {"a", "b"}
    assert captures("/{a}/{b}-{a}") == ("a", "b", "a")
    assert captures("plain") == ()


def test_nothing_is_written_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    fault("(unheard of")
    assert capfd.readouterr().err == ""
