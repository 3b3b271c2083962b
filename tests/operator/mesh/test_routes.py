"""A route as meant is data: frozen, comparable, and without a limit unless one is set."""

from __future__ import annotations

import pytest

from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.mesh.routes import MeshDestination, MeshRoute, MeshRule
from sidewinder_operator.problems import Reference
from sidewinder_sidecar.snapshot.filters import Fault, Mirror
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


def test_all_that_it_may_send_to_is_known_once() -> None:
    mirror = (Mirror(backend="shop/shadow:80"),)
    split = (MeshDestination(backend="shop/web:80", filters=mirror), MeshDestination(invalid="there is no such thing"))
    rules = (
        MeshRule(name="a", matches=(), filters=(*mirror, Fault()), destinations=split),
        MeshRule(name="b", matches=(), filters=(Mirror(backend="shop/b:80"),), destinations=split),
    )
    made = MeshRoute(name="shop/web", namespace="shop", rules=rules, origin=ORIGIN)
    assert made.backends() == ("shop/b:80", "shop/shadow:80", "shop/web:80")
