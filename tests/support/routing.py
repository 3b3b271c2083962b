"""Routes for the router's tests: written as data, compiled like the plan does, and matched again by a slow model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

from sidewinder_sidecar.messages import Call
from sidewinder_sidecar.router import Entry, Route, Router
from sidewinder_sidecar.router import conditions as condition
from sidewinder_sidecar.snapshot.routes import ExactPath, PathSpec, PrefixPath, RegexPath, ValueMatch
from tests.support.calls import call


class Match(NamedTuple):
    """One match of a rule."""

    path: PathSpec
    method: str
    headers: tuple[tuple[str, str], ...]
    query: tuple[tuple[str, str], ...]

    def rank(self) -> tuple[Any, ...]:
        """The Gateway API's precedence, without the index."""
        kind = [ExactPath, PrefixPath, RegexPath].index(type(self.path))
        length = len(self.path.value.rstrip("/")) if kind == 1 else 0
        return kind, -length, not self.method, -len(self.headers), -len(self.query)

    def holds(self, path: bytes, headers: dict[bytes, bytes], query: bytes, method: bytes) -> bool:
        text = path.decode()
        value = self.path.value
        if isinstance(self.path, ExactPath):
            fits = text == value
        elif isinstance(self.path, PrefixPath):
            short = value.rstrip("/")
            fits = text == short or text.startswith(short + "/")
        else:
            fits = re.fullmatch(value, text) is not None
        first: dict[str, str] = {}
        for pair in query.decode().lstrip("?").split("&"):
            name, _, given = pair.partition("=")
            first.setdefault(name, given)
        return (
            fits
            and (not self.method or self.method.encode() == method)
            and all(headers.get(name.encode()) == wanted.encode() for name, wanted in self.headers)
            and all(first.get(name) == wanted for name, wanted in self.query)
        )


def exact(value: str) -> PathSpec:
    return ExactPath(value)


def prefix(value: str) -> PathSpec:
    return PrefixPath(value)


def regex(value: str) -> PathSpec:
    return RegexPath(value)


def match(
    path: PathSpec, method: str = "", headers: dict[str, str] | None = None, query: dict[str, str] | None = None
) -> Match:
    return Match(path, method, tuple((headers or {}).items()), tuple((query or {}).items()))


def entries(matches: Sequence[Match], name: str, number: int = 0) -> list[Entry]:
    """Compiled as `plan.routes` does it."""
    made = []
    for one in matches:
        headers = [ValueMatch(name=key, value=value) for key, value in one.headers]
        query = [ValueMatch(name=key, value=value) for key, value in one.query]
        selector = (one.headers[0][0].encode(), one.headers[0][1].encode()) if one.headers else None
        made.append(
            Entry(
                Route(name, f"rule-{number}"),
                one.path,
                one.method.encode(),
                [condition.header(spec) for spec in headers],
                [condition.query(spec) for spec in query],
                selector,
            )
        )
    return made


def router(*routes: Sequence[Match], names: Sequence[str] = ()) -> Router:
    """One route after the other, named by its number if not otherwise."""
    made = Router()
    for number, matches in enumerate(routes):
        made.add((), entries(matches, names[number] if names else str(number), number))
    list(made.seal())
    return made


def asked(target: bytes, *pairs: tuple[bytes, bytes], method: bytes = b"GET", authority: bytes = b"reviews") -> Call:
    return call(target, *pairs, method=method, authority=authority)


PATHS = st.one_of(
    st.sampled_from(["/", "/a", "/a/", "/a/b", "/ab"]).map(PrefixPath),
    st.sampled_from(["/", "/a", "/a/b", "/a/b/c"]).map(ExactPath),
    st.sampled_from(["/[0-9]", "/a/.*", ".*", "/a/b/(?P<n>[0-9])", "/(a|b)", "/a.?"]).map(RegexPath),
)
ROUTES = st.builds(
    match,
    PATHS,
    st.sampled_from(["", "", "GET", "PUT"]),
    st.sampled_from([{}, {}, {"x-a": "1"}, {"x-a": "2"}, {"x-a": "1", "x-b": "1"}]),
    st.sampled_from([{}, {}, {"q": "1"}, {"q": "1", "p": "1"}]),
)
