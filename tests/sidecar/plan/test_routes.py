"""What a rule compiles to."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import Request
from sidewinder_sidecar.plan import Refused
from sidewinder_sidecar.plan.routes import _opens
from sidewinder_sidecar.snapshot.filters import FieldValue, FullPath, Mirror, RequestHeaders, Rewrite
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.routes import (
    MatchSpec,
    PrefixPath,
    RuleSpec,
    WeightedBackend,
)
from tests.support.memory import Scene, backend, rule, shop

PROXY = ProxySpec(name="test", namespace="shop")


def test_matches_of_a_rule_share_their_split():
    given = shop(
        RuleSpec(
            name="r",
            matches=(MatchSpec(path=PrefixPath("/a")), MatchSpec(path=PrefixPath("/b"))),
            backends=(WeightedBackend(backend="v1"), WeightedBackend(backend="v2")),
        ),
        backends=(backend("v1"), backend("v2")),
    )
    scene = Scene(*given)
    one, other = (entry.route for entry in scene.proxy.plan.routes["shop/reviews"].entries)
    assert one is not other
    assert one.split is other.split


def test_a_backends_filters_know_the_prefix_of_their_match():
    rewrite = (RequestHeaders(set=(FieldValue(name="x-a", value="1"),)), Rewrite(path=FullPath("/new")))
    scene = Scene(*shop(rule(WeightedBackend(backend="v1", filters=rewrite))))
    scene.ask(target=b"/old?q=1")
    assert scene.attempt().target == b"/new?q=1"
    scene.attempt().answer(200, b"")
    scene.check()


BOTH = (backend("v1"), backend("v2"))


@pytest.mark.parametrize("place", ["rule", "backend"])
def test_a_route_is_made_anew_when_a_mirror_s_backend_is_another_one(place):
    mirror = (Mirror(backend="v2"),)
    on_rule, on_backend = (mirror, ()) if place == "rule" else ((), mirror)
    given = shop(rule(WeightedBackend(backend="v1", filters=on_backend), filters=on_rule), backends=BOTH)
    scene = Scene(*given)
    before = scene.proxy.plan.routes["shop/reviews"]
    assert set(before.backends) == {"v1", "v2"}
    assert scene.adopt(*given).routes["shop/reviews"] is before
    with pytest.raises(Refused, match="the snapshot has no backend/v2"):
        scene.plan(*given[:3], *BOTH[0])


def test_what_a_filter_sends_goes_to_whoever_is_ready():
    scene = Scene(*shop(rule("v1"), backends=BOTH))
    send = _opens(scene.fleet.backends, scene.wheel)("v2")
    request = Request(b"GET", b"/", b"reviews", fields())
    assert send(request, None) is scene.attempt()
    empty = Scene(*shop(rule("v1"), backends=(backend("v1"), backend("v2", 0))))
    assert _opens(empty.fleet.backends, empty.wheel)("v2")(request, None) is None
