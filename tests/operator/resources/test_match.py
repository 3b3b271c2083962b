"""match: what templates can use of a match."""

from __future__ import annotations

from sidewinder_operator.resources.match import HeaderMatch, Match, PathMatch


def test_captures_are_those_of_the_path_s_expression() -> None:
    path = PathMatch(type="RegularExpression", value="/(?P<id>.*)")
    headers = (HeaderMatch(type="RegularExpression", name="a", value="(?P<no>.*)"),)
    assert Match(path=path, headers=headers).captures() == {"id"}
    assert Match(path=PathMatch(value="/(?P<id>.*)")).captures() == frozenset()
    assert Match().captures() == frozenset()
