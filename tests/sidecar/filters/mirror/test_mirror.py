"""Copies through a whole exchange: which requests, what they say, and that the original never notices."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.filters import mirror
from sidewinder_sidecar.filters.mirror import tally
from sidewinder_sidecar.messages import CONNECT
from sidewinder_sidecar.plan import Refused
from sidewinder_sidecar.snapshot.filters import FieldValue, FullPath, Mirror, RequestHeaders, Rewrite
from sidewinder_sidecar.snapshot.routes import WeightedBackend
from tests.support.memory import Scene, backend, rule, shop

BOTH = (backend("v1"), backend("shadow", 2))


def scene_of(*filters, behind=(), **options):
    given = rule(WeightedBackend(backend="v1", filters=behind), filters=filters, **options)
    return Scene(*shop(given, backends=BOTH))


def counts(scene):
    [(_, found)] = tally.every(scene.fleet.means)
    return found.results


def answered(scene):
    """The original first, as if the shadow were slow."""
    scene.attempt(0).answer(200, b"ok")
    scene.clock.advance(0.1)
    scene.attempt(1).answer(500, b"who cares")


@pytest.mark.parametrize("place", ["rule", "backend"])
def test_a_copy_goes_to_the_other_backend(place):
    spec = Mirror(backend="shadow")
    scene = scene_of(spec) if place == "rule" else scene_of(behind=(spec,))
    caller = scene.ask(b"GET", b"/reviews/1?full=1", (b"Accept", b"*/*"), (b"expect", b"100-continue"))
    assert scene.attempts == 1, "the original goes first, in a turn of its own"
    scene.clock.advance(0.05)
    original, copy = scene.opened
    assert copy.endpoint.address[0].rpartition(".")[0] != original.endpoint.address[0].rpartition(".")[0]
    assert (copy.method, copy.target, copy.ended) == (b"GET", b"/reviews/1?full=1", True)
    assert copy.fields[mirror.MARK] == b"shop/reviews/everyone"
    assert (copy.fields[b"accept"], copy.fields[b"x-request-deadline"]) == (b"*/*", b"15000ms")
    assert b"expect" not in copy.fields
    assert mirror.MARK not in original.fields
    answered(scene)
    assert (caller.status, caller.body) == (200, b"ok")
    assert counts(scene) == {"answered": 1}
    scene.check()


def test_filters_in_front_of_it_count_and_those_behind_do_not():
    scene = scene_of(
        Rewrite(path=FullPath("/new")),
        Mirror(backend="shadow"),
        RequestHeaders(set=(FieldValue("x-late", "1"),)),
    )
    scene.ask(target=b"/old?q=1")
    scene.clock.advance(0.05)
    original, copy = scene.opened
    assert (original.target, copy.target) == (b"/new?q=1", b"/new?q=1")
    assert b"x-late" in original.fields
    assert b"x-late" not in copy.fields
    answered(scene)
    scene.check()


def test_a_body_is_sent_whole():
    scene = scene_of(Mirror(backend="shadow"))
    caller = scene.ask(b"POST", b"/", (b"te", b"trailers"), length=None, body=None)
    for part in (b"one", b"", b"two"):
        caller.exchange.on_request_data(part)
    scene.clock.advance(1.0)
    assert scene.attempts == 1, "half a request is no request"
    caller.exchange.on_request_end(None)
    scene.clock.advance(0.05)
    copy = scene.attempt(1)
    assert (copy.body, copy.ended) == (b"onetwo", True)
    assert b"te" not in copy.fields
    answered(scene)
    scene.check()


def test_the_share_is_exact():
    scene = scene_of(Mirror(backend="shadow", numerator=1, denominator=20))
    for _ in range(200):
        scene.ask()
        scene.attempt().answer(200, b"")
        scene.clock.advance(0.05)
        if not scene.attempt().over:
            scene.attempt().answer(200, b"")
    assert counts(scene) == {"answered": 10}
    scene.check()


@pytest.mark.parametrize(
    ("length", "parts"),
    [
        pytest.param(65537, [], id="told"),
        pytest.param(None, [b"x" * 40_000, b"x" * 40_000], id="found out"),
    ],
)
def test_a_body_that_is_too_large_is_not_mirrored(length, parts):
    scene = scene_of(Mirror(backend="shadow"))
    caller = scene.ask(b"POST", b"/", length=length, body=None)
    for part in parts or [b"x" * 65537]:
        caller.exchange.on_request_data(part)
    caller.exchange.on_request_end(None)
    scene.attempt().answer(200, b"")
    scene.clock.advance(1.0)
    assert scene.attempts == 1
    assert counts(scene) == {"too_large": 1}
    scene.check()


def test_a_body_of_the_very_bound_is():
    scene = scene_of(Mirror(backend="shadow"))
    scene.ask(b"POST", body=b"x" * mirror.MOST_BODY)
    scene.clock.advance(0.05)
    assert len(scene.attempt(1).body) == mirror.MOST_BODY
    answered(scene)
    scene.check()


@pytest.mark.parametrize("how", ["a copy already", "an upgrade"])
def test_copies_and_upgrades_are_not_copied(how):
    scene = scene_of(Mirror(backend="shadow"))
    if how == "an upgrade":
        caller = scene.ask(upgrade=b"websocket")
        scene.attempt().open_tunnel()
        caller.exchange.on_request_end(None)
        scene.attempt().end()
    else:
        scene.ask(b"GET", b"/", (mirror.MARK, b"shop/other/rule"))
        scene.attempt().answer(200, b"")
    scene.clock.advance(1.0)
    assert (scene.attempts, counts(scene)) == (1, {"skipped": 1})
    scene.check()


def test_so_many_at_once_and_no_more():
    scene = scene_of(Mirror(backend="shadow"))
    for _ in range(mirror.MOST_IN_FLIGHT + 3):
        scene.ask()
        scene.attempt().answer(200, b"")
    assert counts(scene) == {"busy": 3}
    scene.clock.advance(0.05)
    assert scene.attempts == 2 * mirror.MOST_IN_FLIGHT + 3
    for attempt in scene.opened:
        if not attempt.over:
            attempt.answer(200, b"")
    scene.ask()
    scene.attempt().answer(200, b"")
    scene.clock.advance(0.05)
    scene.attempt().answer(200, b"")
    assert counts(scene) == {"busy": 3, "answered": mirror.MOST_IN_FLIGHT + 1}
    scene.check()


def test_a_budget_of_the_shadow_is_not_fed():
    scene = scene_of(Mirror(backend="shadow"))
    shadow = scene.fleet.backends["shadow"]
    scene.ask()
    scene.clock.advance(0.05)
    assert shadow.budget.current == 0
    answered(scene)
    scene.check()


def test_a_request_whose_body_came_while_a_filter_waited_is_copied_whole():
    from sidewinder_sidecar.snapshot.filters import Delay, Fault

    scene = scene_of(Fault(delay=Delay(seconds=1.0)), Mirror(backend="shadow"))
    scene.ask(b"POST", body=b"early")
    scene.clock.advance(1.1)
    original, copy = scene.opened
    assert (original.body, copy.body) == (b"early", b"early")
    answered(scene)
    scene.check()


def test_a_request_without_a_backend_is_mirrored_all_the_same():
    scene = Scene(
        *shop(rule("v1", filters=(Mirror(backend="shadow"),)), backends=(backend("v1", 0), backend("shadow")))
    )
    caller = scene.ask()
    assert caller.status == 503
    scene.clock.advance(0.05)
    scene.attempt().answer(200, b"")
    assert counts(scene) == {"answered": 1}
    scene.check()


def test_a_try_again_is_one_request_and_one_copy():
    from sidewinder_sidecar.snapshot.routes import RetrySpec

    scene = scene_of(Mirror(backend="shadow", compare=True), retry=RetrySpec(backoff=0.0, max_backoff=0.0))
    caller = scene.ask(b"PUT", body=b"b")
    scene.attempt(0).fail(CONNECT, "connect_refused")
    scene.clock.advance(0.1)
    for attempt in scene.opened[1:]:
        attempt.answer(200, b"same")
    assert caller.body == b"same"
    assert [mirror.MARK in attempt.fields for attempt in scene.opened].count(True) == 1
    [(_, found)] = tally.every(scene.fleet.means)
    assert (found.results, found.same) == ({"answered": 1}, 1)
    scene.check()


def test_a_backend_that_the_snapshot_does_not_have_is_refused():
    with pytest.raises(Refused) as refused:
        scene_of(Mirror(backend="nowhere"))
    assert (refused.value.field, refused.value.resource) == ("rules[0].filters[0].backend", "route/shop/reviews")


def test_counts_outlive_the_plan():
    scene = scene_of(Mirror(backend="shadow"))
    scene.ask()
    scene.clock.advance(0.05)
    answered(scene)
    given = rule("v1", filters=(Mirror(backend="shadow", compare=True),))
    scene.adopt(*shop(given, backends=BOTH))
    assert counts(scene) == {"answered": 1}
    scene.check()
