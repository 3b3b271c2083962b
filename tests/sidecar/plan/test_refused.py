"""What makes no sense is refused whole, with its place and what would be right."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.plan import Refused, build
from sidewinder_sidecar.snapshot import KINDS
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.routes import (
    CookieStickiness,
    ExactPath,
    MatchSpec,
    PrefixPath,
    RegexPath,
    RetrySpec,
    RouteSpec,
    RuleSpec,
    ValueMatch,
    WeightedBackend,
)
from sidewinder_sidecar.snapshot.upstreams import BackendSpec, BudgetSpec, EndpointSpec, EndpointsSpec
from tests.support.memory import Scene, listener, service, shop

PROXY = ProxySpec(name="test", namespace="shop")


def snapshot(*resources):
    made = {f"{KINDS[type(body)]}/{body.name}": body for body in resources}
    made["proxy/self"] = PROXY
    return made


def run(steps):
    slices = 0
    while True:
        try:
            next(steps)
            slices += 1
        except StopIteration as done:
            return done.value, slices


def broken(field_path, resource, *bodies):
    return pytest.param(field_path, resource, bodies, id=f"{resource} {field_path}")


def route(**options):
    return RouteSpec(name="shop/reviews", rules=(RuleSpec(name="r", **options),))


ONE = (WeightedBackend(backend="v1"),)
REFUSED = [
    broken("rules[0].backends[0].backend", "route/shop/reviews", route(backends=(WeightedBackend(backend="v9"),))),
    broken(
        "rules[0].backends[1].weight",
        "route/shop/reviews",
        route(backends=(*ONE, WeightedBackend(backend="v1", weight=-1))),
    ),
    broken("rules[0].matches[0].path.value", "route/shop/reviews", route(matches=(MatchSpec(path=RegexPath("(")),))),
    broken(
        "rules[0].matches[1].path.value",
        "route/shop/reviews",
        route(matches=(MatchSpec(), MatchSpec(path=PrefixPath("a")))),
    ),
    broken("rules[0].matches[0].path.value", "route/shop/reviews", route(matches=(MatchSpec(path=ExactPath("")),))),
    broken(
        "rules[0].matches[0].headers[0].value",
        "route/shop/reviews",
        route(matches=(MatchSpec(headers=(ValueMatch("x", "[", "RegularExpression"),)),)),
    ),
    broken(
        "rules[0].matches[0].query[0].value",
        "route/shop/reviews",
        route(matches=(MatchSpec(query=(ValueMatch("x", "[", "RegularExpression"),)),)),
    ),
    broken("rules[0].request_timeout", "route/shop/reviews", route(request_timeout=0.0)),
    broken("rules[0].backend_timeout", "route/shop/reviews", route(backend_timeout=-1.0)),
    broken("rules[0].retry.attempts", "route/shop/reviews", route(retry=RetrySpec(attempts=-1))),
    broken("rules[0].retry.backoff", "route/shop/reviews", route(retry=RetrySpec(backoff=float("nan")))),
    broken("rules[0].stickiness.name", "route/shop/reviews", route(stickiness=CookieStickiness("a b"), backends=ONE)),
    broken("routes[0]", "service/shop/reviews:9080", service("shop/none")),
    broken("backend", "service/shop/reviews:9080", service(backend="none")),
    broken("services[0]", "listener/out", listener(services=("shop/none:80",))),
    broken("default_service", "listener/out", listener(default_service="shop/none:80")),
    broken("port", "listener/out", ListenerSpec(name="out", direction="Inbound", address="::", port=70000)),
    broken("endpoints", "backend/v1", BackendSpec(name="v1", endpoints="none")),
    broken("connect_timeout", "backend/v1", BackendSpec(name="v1", endpoints="v1", connect_timeout=0.0)),
    broken("budget.interval", "backend/v1", BackendSpec(name="v1", endpoints="v1", budget=BudgetSpec(interval=0.0))),
    broken("budget.percent", "backend/v1", BackendSpec(name="v1", endpoints="v1", budget=BudgetSpec(percent=-1))),
    broken(
        "endpoints[0].port",
        "endpoints/v1",
        EndpointsSpec(name="v1", endpoints=(EndpointSpec(uid="a", address="a", port=0),)),
    ),
    broken(
        "endpoints[0].address",
        "endpoints/v1",
        EndpointsSpec(name="v1", endpoints=(EndpointSpec(uid="a", address="", port=1),)),
    ),
    broken(
        "endpoints[0].weight",
        "endpoints/v1",
        EndpointsSpec(name="v1", endpoints=(EndpointSpec(uid="a", address="a", port=1, weight=-1),)),
    ),
    broken(
        "endpoints[1]",
        "endpoints/v1",
        EndpointsSpec(name="v1", endpoints=(EndpointSpec(uid="a", address="a", port=1),) * 2),
    ),
]


@pytest.mark.parametrize(("field", "resource", "bodies"), REFUSED)
def test_what_makes_no_sense_is_refused_with_its_place(field, resource, bodies):
    given = snapshot(*shop())
    given.update({f"{KINDS[type(body)]}/{body.name}": body for body in bodies})
    with pytest.raises(Refused) as refused:
        run(build(given, Scene().fleet))
    assert (refused.value.resource, refused.value.field) == (resource, field)
    assert len(refused.value.why) > 10
    assert str(refused.value).startswith(f"{resource}: {field}: ")
