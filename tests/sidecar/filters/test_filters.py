import pytest

from sidewinder_sidecar import filters
from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.filters.site import Site
from sidewinder_sidecar.means import Means
from sidewinder_sidecar.messages import Response
from sidewinder_sidecar.snapshot.filters import (
    Abort,
    Cors,
    Delay,
    DirectResponse,
    Fault,
    FieldValue,
    Mirror,
    Redirect,
    RequestHeaders,
    ResponseHeaders,
    Rewrite,
)
from sidewinder_sidecar.snapshot.policies import CorsSpec
from sidewinder_sidecar.snapshot.routes import WeightedBackend
from tests.support.calls import call
from tests.support.memory import Scene, rule, shop

SET = (FieldValue("x-a", "1"),)


def site():
    return Site("shop/reviews", "everyone", Means(), Scene().wheel, lambda name: lambda request, receiver: None)


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        (RequestHeaders(set=SET), None),
        (Rewrite(hostname="x"), None),
        (Redirect(), 302),
        (DirectResponse(), 200),
        (Fault(abort=Abort(status=418)), 418),
    ],
    ids=repr,
)
def test_a_request_filter_goes_on_or_answers(spec, status):
    verdict = filters.request_filter(spec, b"/", site())(call())
    assert (verdict.status if verdict is not None else None) == status
    assert filters.response_filter(spec) is None


@pytest.mark.parametrize(
    "spec",
    [
        Mirror(backend="v2", numerator=0),
        Fault(abort=Abort(status=503, numerator=0), delay=Delay(seconds=1.0, numerator=0)),
    ],
    ids=repr,
)
def test_a_share_of_nothing_costs_nothing(spec):
    assert filters.request_filter(spec, b"/", site()) is None


def test_a_response_filter():
    spec = ResponseHeaders(set=SET)
    assert filters.request_filter(spec, b"/", site()) is None
    answer = Response(200, fields())
    filters.response_filter(spec)(call(), answer)
    assert answer.fields.get(b"x-a") == b"1"


def test_every_kind_of_filter_is_known():
    from typing import get_args

    from sidewinder_sidecar.snapshot.filters import FilterSpec

    assert {kind.__name__ for kind in get_args(FilterSpec)} == {
        "RequestHeaders", "ResponseHeaders", "Redirect", "Rewrite", "DirectResponse", "Cors", "SizeLimits",
        "Mirror", "Fault",
    }  # fmt: skip
    assert filters.ORDER[-1] == filters.RULE, "plan/guards has those before it"


SHOP = b"https://shop.example"
PAGES = Cors(CorsSpec(allow_origins=("https://shop.example",), allow_methods=("PUT",)))


@pytest.mark.parametrize("place", ["rule", "backend"])
def test_a_rule_s_cors_beats_what_the_called_says_of_it(place):
    """The called is a Service with a section `cors` of its own, or an application: its words are replaced."""
    on_rule, on_backend = ((PAGES,), ()) if place == "rule" else ((), (PAGES,))
    scene = Scene(*shop(rule(WeightedBackend(backend="v1", filters=on_backend), filters=on_rule)))
    preflight = scene.ask(b"OPTIONS", b"/", (b"origin", SHOP), (b"access-control-request-method", b"PUT"))
    assert (preflight.status, scene.attempts) == (204, 0)
    assert preflight.header(b"access-control-allow-methods") == b"PUT"
    read = scene.ask(b"GET", b"/", (b"origin", SHOP))
    scene.attempt().answer(200, b"ok", (b"access-control-allow-origin", b"https://other.example"), (b"vary", b"Origin"))
    assert read.response.fields.all(b"access-control-allow-origin") == [SHOP]
    assert read.response.fields.all(b"vary") == [b"Origin"]
    assert scene.records[0].decision == ""
    scene.check()
