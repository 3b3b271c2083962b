"""What a rule compiles to."""

from __future__ import annotations

from sidewinder_sidecar.snapshot.filters import FieldValue, FullPath, RequestHeaders, Rewrite
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
