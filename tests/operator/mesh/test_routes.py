"""A route as meant is data: frozen, comparable, and without a limit unless one is set."""

from __future__ import annotations

import pytest

from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.mesh.routes import MeshDestination, MeshRoute, MeshRule
from sidewinder_operator.problems import Reference
from sidewinder_sidecar.snapshot.routes import MatchSpec

ORIGIN = Origin(Reference("ApiRoute", "shop", "web"))


def _route() -> MeshRoute:
    rule = MeshRule(name="all", matches=(MatchSpec(),), destinations=(MeshDestination(backend="shop/web:80"),))
    return MeshRoute(name="shop/web", namespace="shop", rules=(rule,), origin=ORIGIN)


def test_equal_routes_are_equal() -> None:
    assert _route() == _route()


def test_a_route_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        _route().name = "other"  # type: ignore[misc]


def test_a_rule_has_no_limit_unless_one_is_set() -> None:
    (rule,) = _route().rules
    assert rule.request_timeout is rule.backend_timeout is rule.retry is rule.stickiness is None
    assert rule.destinations[0].weight == 1
