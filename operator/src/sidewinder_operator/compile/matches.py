"""What a written match means, and when two mean the same. Called by `routes` and `conflicts`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from sidewinder_operator.resources.match import HeaderMatch, Match, QueryParamMatch
from sidewinder_sidecar.snapshot.routes import ExactPath, MatchSpec, PathSpec, PrefixPath, RegexPath, ValueMatch

Meaning: TypeAlias = tuple[
    object, ...
]  # equal for matches that take exactly the same requests with the same precedence

_PATHS: Mapping[str, Callable[[str], PathSpec]] = {
    "Exact": ExactPath,
    "PathPrefix": PrefixPath,
    "RegularExpression": RegexPath,
}


def match(written: Match) -> MatchSpec:
    """One match. Of several entries with one name only the first counts, as the Gateway API has it."""
    return MatchSpec(
        path=_PATHS[written.path.type](written.path.value),
        method=written.method or "",
        headers=_values(written.headers, str.lower),
        query=_values(written.query_params, str),
    )


def _values(written: Iterable[HeaderMatch | QueryParamMatch], fold: Callable[[str], str]) -> tuple[ValueMatch, ...]:
    found: dict[str, ValueMatch] = {}
    for each in written:
        name = fold(each.name)
        found.setdefault(name, ValueMatch(name, each.value, each.type))
    return tuple(found.values())


def meaning(spec: MatchSpec) -> Meaning:
    """The order of headers and a prefix's last slash mean nothing."""
    path = spec.path
    value = path.value.rstrip("/") or "/" if isinstance(path, PrefixPath) else path.value
    return type(path), value, spec.method, _sorted(spec.headers), _sorted(spec.query)


def _sorted(values: Iterable[ValueMatch]) -> tuple[tuple[str, str, str], ...]:
    return tuple(sorted((each.name, each.value, each.type) for each in values))
