"""Who loses a match, and to whom."""

from __future__ import annotations

import pytest

from sidewinder_operator.compile.conflicts import conflicts
from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.mesh.routes import MeshRoute, MeshRule
from sidewinder_operator.problems import Problem, Reference
from sidewinder_sidecar.snapshot.routes import ExactPath, MatchSpec, PrefixPath

A, B = MatchSpec(path=PrefixPath("/a")), MatchSpec(path=PrefixPath("/b"))


def route(name: str, *rules: tuple[MatchSpec, ...], hosts: tuple[str, ...] = ()) -> MeshRoute:
    made = tuple(MeshRule(name=f"rule-{index}", matches=matches) for index, matches in enumerate(rules))
    return MeshRoute(
        name=name, namespace="shop", hostnames=hosts, rules=made, origin=Origin(Reference("ApiRoute", "shop", name))
    )


def told(*routes: MeshRoute, audience: str = "") -> list[Problem]:
    names = [each.name for each in routes]
    return list(conflicts({each.name: each for each in routes}, {"shop/web:80": {audience: names}}))


@pytest.mark.parametrize(
    "routes",
    [
        (route("r1", (A,)), route("r2", (B,))),
        (route("r1", (A,)), route("r2", (MatchSpec(path=ExactPath("/a")),))),
        (route("r1", (A,), hosts=("x.example",)), route("r2", (A,), hosts=("y.example",))),
        (route("r1", (A,)), route("r2", (A,), hosts=("y.example",))),
    ],
    ids=["other paths", "other kinds of path", "other hosts", "any host and one host"],
)
def test_what_differs_is_no_conflict(routes: tuple[MeshRoute, ...]) -> None:
    assert told(*routes) == []


def test_the_later_one_loses_and_is_told_who_came_first() -> None:
    (problem,) = told(route("r1", (B,), (A,)), route("r2", (A, MatchSpec(method="GET"))))
    assert (problem.reference.name, problem.field) == ("r2", "spec.rules[0].matches[0]")
    assert (problem.reason, problem.severity) == ("Overridden", "Warning")
    assert "ApiRoute shop/r1 (rule rule-1), which comes first" in problem.message


def test_a_route_that_lost_every_match_is_refused() -> None:
    problems = told(route("r1", (A,), (B,)), route("r2", (A,), (B,)))
    assert [(problem.reason, problem.severity) for problem in problems] == [("Conflicted", "Error")] * 2


def test_a_route_can_be_in_its_own_way() -> None:
    (problem,) = told(route("r1", (A,), (B, A)))
    assert (problem.field, problem.severity) == ("spec.rules[1].matches[1]", "Warning")
    assert "rule rule-0 before it" in problem.message


def test_hosts_that_are_taken_are_named() -> None:
    (problem,) = told(route("r1", (A,), hosts=("x.example",)), route("r2", (A,), hosts=("y.example", "x.example")))
    assert problem.severity == "Warning"
    assert "on shop/web:80 for x.example the same match" in problem.message


def test_routes_before_different_callers_never_meet() -> None:
    routes = {each.name: each for each in (route("r1", (A,)), route("r2", (A,)))}
    assert list(conflicts(routes, {"shop/web:80": {"": ["r1"], "lab": ["r2"]}})) == []
    assert list(conflicts(routes, {"shop/web:80": {"": ["r1"]}, "shop/web:81": {"": ["r2"]}})) == []


def test_a_match_lost_on_one_port_and_kept_on_another_is_only_a_warning() -> None:
    routes = {each.name: each for each in (route("r1", (A,)), route("r2", (A,)))}
    (problem,) = conflicts(routes, {"shop/web:80": {"": ["r1", "r2"]}, "shop/web:81": {"": ["r2"]}})
    assert (problem.severity, problem.reason) == ("Warning", "Overridden")
