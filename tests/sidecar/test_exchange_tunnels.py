"""The exchange by a protocol in memory: upgrades and CONNECT, which become tunnels and close half by half."""

from __future__ import annotations

from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot.routes import (
    ExactPath,
    MatchSpec,
    RouteSpec,
)
from tests.support.memory import Scene, backend, listener, rule, service, shop


def test_an_upgrade_becomes_a_tunnel_that_closes_half_by_half():
    scene = Scene(*shop(rule("v1", request_timeout=1.0)))
    caller = scene.ask(upgrade=b"websocket")
    attempt = scene.attempt()
    attempt.open_tunnel(101)
    assert caller.tunnel
    scene.clock.advance(10)  # the request's deadline means nothing here
    caller.exchange.on_request_data(b"ping")
    attempt.data(b"pong")
    assert (attempt.body, caller.body) == (b"ping", b"pong")
    caller.exchange.on_request_end(None)
    assert attempt.ended
    attempt.data(b"more")
    assert not scene.records
    attempt.end()
    assert caller.body == b"pongmore"
    assert (scene.records[0].status, scene.records[0].error) == (101, "")
    scene.check()


def test_a_tunnel_whose_upstream_ends_first():
    scene = Scene(*shop())
    caller = scene.ask(upgrade=b"websocket")
    attempt = scene.attempt()
    attempt.open_tunnel(101)
    attempt.end()
    assert not scene.records
    caller.exchange.on_request_end(None)
    assert scene.records[0].error == ""
    scene.check()


def test_a_tunnel_of_which_nothing_moves_is_cut():
    scene = Scene(*shop(), limits=Limits(tunnel_idle_seconds=60.0))
    caller = scene.ask(upgrade=b"websocket")
    scene.attempt().open_tunnel(101)
    scene.clock.advance(60)
    assert not caller.over
    scene.clock.advance(62)
    assert (caller.was_reset, scene.records[0].error) == ("idle", "idle")
    scene.check()


def test_an_upgrade_may_be_refused_by_the_upstream():
    scene = Scene(*shop())
    caller = scene.ask(upgrade=b"websocket")
    scene.attempt().answer(400, b"no")
    assert (caller.status, caller.body, caller.tunnel) == (400, b"no", False)
    scene.check()


def test_connect_is_for_forward_proxies_alone():
    """Anywhere else a tunnel would go around every rule of the service."""
    scene = Scene(listener(), service(backend="own"), *backend("own"))
    caller = scene.ask(b"CONNECT", b"", upgrade=b"connect")
    assert (caller.status, caller.tunnel) == (404, False)
    scene.check()


def test_connect_goes_around_the_routes_of_a_service():
    scene = Scene(
        listener(forward_proxy=True),
        service("shop/reviews", backend="own"),
        RouteSpec(name="shop/reviews", rules=(rule("v1", matches=(MatchSpec(path=ExactPath("/only")),)),)),
        *backend("v1"),
        *backend("own"),
    )
    caller = scene.ask(b"CONNECT", b"", upgrade=b"connect")
    attempt = scene.attempt()
    attempt.open_tunnel(200)
    caller.exchange.on_request_data(b"hello")
    assert (scene.records, attempt.body, caller.tunnel) == ([], b"hello", True)
    caller.exchange.on_caller_gone("caller_gone")
    assert scene.records[0].backend == "own"
    scene.check()
