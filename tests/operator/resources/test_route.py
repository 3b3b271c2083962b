"""route: the target manifest as a type, with its defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sidewinder_operator.resources.read import read
from sidewinder_operator.resources.route import IDEMPOTENT, ApiRoute, BackendRef, Retry
from tests.support.refusals import ROUTE, rule

CANARY = Path(__file__).parents[3] / "examples/canary/canary.yaml"


def route(raw: Any) -> ApiRoute:
    """A good route."""
    reading = read(raw)
    assert reading.problems == []
    assert isinstance(reading.found, ApiRoute)
    return reading.found


def test_the_canary() -> None:
    found = route(yaml.safe_load(CANARY.read_text()))
    beta, everyone = found.spec.rules
    assert found.key == ("bookinfo", "reviews")
    assert beta.matches[0].headers[0].value == "true"
    assert [(ref.name, ref.weight) for ref in everyone.backend_refs] == [("reviews-v1", 90), ("reviews-v2", 10)]
    assert everyone.stickiness is not None
    assert everyone.stickiness.cookie is not None
    assert everyone.stickiness.cookie.lifetime == "1h"
    assert everyone.retry == Retry(
        attempts=2, codes=(502, 503, 504), conditions=("ConnectFailure", "ResetBeforeRequest"), methods=IDEMPOTENT
    )


def test_defaults_are_the_gateway_api_s() -> None:
    (found,) = route(ROUTE).spec.rules
    assert [(match.path.type, match.path.value) for match in found.matches] == [("PathPrefix", "/")]
    assert found.backend_refs == (BackendRef(name="reviews-v1", port=9080, weight=1),)
    (found,) = route(rule(matches=[{"method": "GET"}])).spec.rules
    assert found.matches[0].path.value == "/"


def test_resources_are_frozen_and_compare_by_value() -> None:
    assert route(ROUTE) == route(ROUTE)
    assert hash(route(ROUTE).spec) == hash(route(ROUTE).spec)
