"""What a compiled rule knows beforehand."""

from __future__ import annotations

from sidewinder_sidecar.resilience import retry
from sidewinder_sidecar.router.route import Route, Share
from sidewinder_sidecar.router.stickiness import Cookie
from sidewinder_sidecar.snapshot.routes import CookieStickiness
from tests.sidecar.router.test_split import shares


def test_a_single_share_needs_no_choice():
    [one] = shares(5)
    assert Route("r", shares=(one,)).only is one
    assert Route("r", shares=tuple(shares(0))).only is None
    assert Route("r", shares=tuple(shares(1, 1))).only is None
    sticky = Cookie(CookieStickiness("c"), [one])
    assert Route("r", shares=(one,), stickiness=sticky).only is None


def test_what_is_not_said_is_off():
    route = Route("shop/reviews", "everyone")
    assert (route.filters, route.response_filters, route.request_body, route.response_body) == ((), (), (), ())
    assert (route.retry, route.request_timeout, route.backend_timeout) == (retry.NONE, None, None)
    assert repr(Route("shop/reviews", "all", shares=(Share(None, 2),))) == "<Route shop/reviews all <Share invalid 2>>"
