"""What a match means, and when two mean the same."""

from __future__ import annotations

import pytest

from sidewinder_operator.compile.matches import match, meaning
from sidewinder_operator.resources.match import HeaderMatch, Match, PathMatch, QueryParamMatch
from sidewinder_sidecar.snapshot.routes import ExactPath, MatchSpec, PrefixPath, RegexPath, ValueMatch


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (Match(), MatchSpec()),
        (Match(path=PathMatch(type="Exact", value="/a"), method="GET"), MatchSpec(path=ExactPath("/a"), method="GET")),
        (Match(path=PathMatch(type="RegularExpression", value="/a+")), MatchSpec(path=RegexPath("/a+"))),
        (
            Match(headers=(HeaderMatch(name="X-A", value="1"), HeaderMatch(name="x-a", value="2"))),
            MatchSpec(headers=(ValueMatch("x-a", "1"),)),
        ),
        (
            Match(query_params=(QueryParamMatch(name="A", value="1"), QueryParamMatch(name="a", value="2"))),
            MatchSpec(query=(ValueMatch("A", "1"), ValueMatch("a", "2"))),
        ),
        (
            Match(headers=(HeaderMatch(type="RegularExpression", name="a", value="1|2"),)),
            MatchSpec(headers=(ValueMatch("a", "1|2", "RegularExpression"),)),
        ),
    ],
    ids=["every request", "exact and method", "regex", "first header counts", "query names have case", "header regex"],
)
def test_match(written: Match, meant: MatchSpec) -> None:
    assert match(written) == meant


A, B = ValueMatch("a", "1"), ValueMatch("b", "1")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (MatchSpec(path=PrefixPath("/a")), MatchSpec(path=PrefixPath("/a/")), True),
        (MatchSpec(path=PrefixPath("/")), MatchSpec(), True),
        (MatchSpec(path=ExactPath("/a")), MatchSpec(path=ExactPath("/a/")), False),
        (MatchSpec(path=ExactPath("/a")), MatchSpec(path=PrefixPath("/a")), False),
        (MatchSpec(headers=(A, B)), MatchSpec(headers=(B, A)), True),
        (MatchSpec(headers=(A,)), MatchSpec(query=(A,)), False),
        (MatchSpec(headers=(A,)), MatchSpec(headers=(ValueMatch("a", "1", "RegularExpression"),)), False),
        (MatchSpec(method="GET"), MatchSpec(), False),
    ],
)
def test_meaning(one: MatchSpec, other: MatchSpec, same: bool) -> None:
    assert (meaning(one) == meaning(other)) is same
