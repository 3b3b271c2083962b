"""`/mirror` and its metrics."""

from __future__ import annotations

from types import SimpleNamespace

from sidewinder_sidecar.filters.mirror import tally
from sidewinder_sidecar.main import mirrors
from sidewinder_sidecar.telemetry.metrics import Metrics
from tests.support.memory import Scene


def process():
    scene = Scene()
    made = SimpleNamespace(proxy=scene.proxy, metrics=Metrics())
    one = tally.of(scene.fleet.means, "shop/reviews", "everyone", "shop/reviews-v2:9080")
    one.count("answered")
    one.count("busy")
    one.compared({"body": {"original": 1, "mirror": 2}}, b"GET", b"/reviews", b"id-1")
    one.compared({}, b"GET", b"/reviews", b"id-1")
    return made


def test_the_page():
    [shown] = mirrors.told(process())["mirrors"]
    assert (shown["route"], shown["rule"], shown["backend"]) == ("shop/reviews", "everyone", "shop/reviews-v2:9080")
    assert shown["copies"] == {"answered": 1, "busy": 1}
    assert shown["compared"] == {"same": 1, "different": 1, "unsettled": 0}
    assert shown["differences"] == {"body": 1}
    assert (shown["samples"][0]["path"], shown["samples"][0]["request_id"]) == ("/reviews", "id-1")


def test_the_metrics():
    given = process()
    mirrors.gauges(given)
    text = "".join(given.metrics.render())
    place = 'route="shop/reviews",rule="everyone",backend="shop/reviews-v2:9080"'
    assert f'sidewinder_mirror_copies_total{{{place},result="busy"}} 1\n' in text
    assert f'sidewinder_mirror_compared_total{{{place},result="different"}} 1\n' in text
    assert f'sidewinder_mirror_differences_total{{{place},what="body"}} 1\n' in text


def test_without_mirrors_there_is_nothing():
    given = SimpleNamespace(proxy=Scene().proxy, metrics=Metrics())
    mirrors.gauges(given)
    assert mirrors.told(given) == {"mirrors": []}
    assert "{" not in "".join(given.metrics.render()).replace("_bucket{", "")
