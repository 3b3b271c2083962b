"""`/breakers` and its metrics: what is ejected, since when and until when by the wall clock, and what limits refuse."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from sidewinder_sidecar.main import breakers
from sidewinder_sidecar.snapshot.upstreams import BreakerSpec, ConcurrencySpec, EndpointSpec, LimitsSpec
from sidewinder_sidecar.telemetry.metrics import Metrics
from tests.support.memory import Endpoint, Scene, backend, rule, shop

WALL = 1_700_000_000.0


def first(scene: Scene) -> Endpoint:
    """The endpoint that fails."""
    return next(one for one in scene.made if one.uid == "v1-0")


@pytest.fixture
def scene() -> Scene:
    """Three endpoints, of which the first is ejected five seconds ago; `plain` has no policy."""
    policies: dict[str, Any] = {
        "breaker": BreakerSpec(consecutive=1, open_seconds=100.0),
        "concurrency": ConcurrencySpec(whole=LimitsSpec(requests=1)),
    }
    one = Scene(*shop(rule("v1"), rule("plain"), backends=(backend("v1", 3, **policies), backend("plain"))))
    first(one).settled(503, "", one.clock.now, 0.1)
    one.clock.now += 5.0
    return one


def process(scene: Scene) -> Any:
    return SimpleNamespace(proxy=scene.proxy, metrics=Metrics(), began=1.5)


def test_the_page(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakers.time, "time", lambda: WALL)
    scene.ask()
    scene.ask()
    told = breakers.told(process(scene))
    [row] = json.loads(json.dumps(told))["backends"]
    [opened] = row.pop("open")
    assert row == {
        "backend": "v1",
        "service": "v1",
        "endpoints": 3,
        "panicking": False,
        "ejections": 1,
        "concurrency": {"requests": 1, "refused": {"requests": 1, "pending": 0, "connections": 0}},
    }
    assert 80.0 <= opened.pop("until") - WALL + 5.0 <= 100.0
    assert opened == {
        "endpoint": "{}:{}".format(*first(scene).address),
        "uid": "v1-0",
        "state": "open",
        "since": WALL - 5.0,
        "why": "1 failures in a row, the last one 503",
        "times": 1,
    }


def test_the_operator_is_told_of_open_ones_alone(scene: Scene) -> None:
    found = breakers.seen(scene.fleet, scene.clock.now, WALL)
    assert [(name, [each["uid"] for each in opened]) for name, opened in found.items()] == [("v1", ["v1-0"])]
    scene.fleet.backends["v1"].outliers.close(scene.clock.now)
    assert breakers.seen(scene.fleet, scene.clock.now, WALL) == {}


def test_a_page_has_an_end(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakers, "MOST", 0)
    [row] = breakers.told(process(scene))["backends"]  # type: ignore[misc]
    assert row["open"] == []


def test_the_metrics(scene: Scene) -> None:
    one = process(scene)
    breakers.gauges(one)
    scene.ask()
    scene.ask()
    text = "".join(one.metrics.render())
    host, port = first(scene).address
    assert f'sidewinder_breaker_open{{backend="v1",endpoint="{host}:{port}",state="open"}} 1\n' in text
    assert 'sidewinder_breaker_ejections_total{backend="v1"} 1\n' in text
    assert 'sidewinder_backend_panicking{backend="v1"} 0\n' in text
    assert 'sidewinder_concurrency_requests{backend="v1"} 1\n' in text
    assert 'sidewinder_concurrency_refused_total{backend="v1",limit="requests"} 1\n' in text
    assert "plain" not in text


def test_an_address_of_ipv6_has_brackets(scene: Scene) -> None:
    spec = EndpointSpec(uid="u", address="fd00::1", port=80)
    assert breakers.address(Endpoint(spec, scene.wheel, [], [])) == "[fd00::1]:80"
