"""What a request is hashed by, in the policy's order; a cookie is given to who has none, once."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.messages import Peer
from sidewinder_sidecar.snapshot.routes import CookieStickiness, RetrySpec
from sidewinder_sidecar.snapshot.upstreams import (
    ClaimKey,
    CookieKey,
    HeaderKey,
    LeastRequest,
    Maglev,
    RingHash,
    SourceKey,
)
from sidewinder_sidecar.upstream.balance.hashed import hashed
from sidewinder_sidecar.upstream.balance.keys import key_maker, source
from tests.support.calls import call
from tests.support.memory import Scene, backend, rule, shop

CLAIMS = {"claims": {"sub": "alice", "groups": ["a", "b"], "realm": {"id": 7}}}


@pytest.mark.parametrize(
    ("spec", "rows", "found"),
    [
        (HeaderKey("X-User"), [(b"x-user", b"bob"), (b"x-user", b"eve")], b"bob"),
        (HeaderKey("X-User"), [], None),
        (SourceKey(), [], b"192.0.2.7"),
        (ClaimKey("sub"), [], b"alice"),
        (ClaimKey("groups"), [], b"a\0b"),
        (ClaimKey("realm.id"), [], b"7"),
        (ClaimKey("email"), [], None),
        (CookieKey("sid"), [(b"cookie", b"a=1; sid=xyz"), (b"cookie", b"sid=2")], b"xyz"),
        (CookieKey("sid"), [(b"cookie", b'sid=; sid="q"')], b"q"),
    ],
    ids=repr,
)
def test_what_is_found(spec, rows, found):
    one = call(b"/", *rows, attributes=CLAIMS)
    assert source(spec).find(one, None) == found
    assert one.cookies == ()


@pytest.mark.parametrize(("client", "found"), [("203.0.113.9", b"203.0.113.9"), ("", None)])
def test_who_is_behind_trusted_hops_counts(client, found):
    assert source(SourceKey()).find(call(attributes={"client": client}), None) == found


def test_without_claims_or_an_address_nothing_is_found():
    assert source(ClaimKey("sub")).find(call(), None) is None
    assert source(SourceKey()).find(call(peer=Peer()), None) is None


@pytest.mark.parametrize("spec", [HeaderKey("x"), CookieKey("x"), ClaimKey("x")], ids=repr)
def test_a_relayed_connection_has_an_address_and_nothing_else(spec):
    peer = Peer("192.0.2.9", 1)
    assert source(spec).find(None, peer) is None
    assert source(SourceKey()).find(None, peer) == b"192.0.2.9"
    peer.stands_for("198.51.100.1")
    assert source(SourceKey()).find(None, peer) == b"198.51.100.1"
    assert source(SourceKey()).find(None, None) is None


@pytest.mark.parametrize(
    ("ttl", "scheme", "attributes"),
    [
        (0, b"http", b"; Path=/; HttpOnly; SameSite=Lax"),
        (60, b"https", b"; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"),
    ],
)
def test_who_has_no_cookie_is_given_one_and_keeps_it_over_a_retry(ttl, scheme, attributes):
    one, keys = call(), source(CookieKey("sid", ttl))
    one.request.scheme = scheme
    one.cookies = (b"other=1",)
    value = keys.find(one, None)
    assert keys.find(one, None) == value
    assert one.cookies == (b"other=1", b"sid=" + value + attributes)
    assert len(value) == 16
    assert keys.find(call(), None) != value
    again = call(b"/", (b"cookie", b"sid=" + value))
    assert keys.find(again, None) == value


@pytest.mark.parametrize("make", [RingHash, Maglev])
def test_the_first_key_that_is_there(make):
    keys = key_maker(make(keys=(HeaderKey("x-user"), SourceKey())))
    assert keys.key(call(b"/", (b"x-user", b"bob")), None) == hashed(b"bob")
    assert keys.key(call(), None) == hashed(b"192.0.2.7")
    assert key_maker(make()).key(call(), None) is None
    assert key_maker(LeastRequest()) is None


def test_a_caller_is_given_the_cookie_with_its_answer_and_comes_back_by_it():
    scene = Scene(*shop(backends=(backend("v1", 5, balancing=RingHash(keys=(CookieKey("sid", 60),))),)))
    for _ in range(10):
        first = scene.ask()
        met = scene.attempt().endpoint
        scene.attempt().answer(200, b"")
        cookie = first.header(b"set-cookie").partition(b";")[0]
        again = scene.ask(b"GET", b"/", (b"Cookie", cookie))
        assert scene.attempt().endpoint is met
        scene.attempt().answer(200, b"")
        assert again.header(b"set-cookie") is None
    scene.check()


def test_the_cookie_stands_beside_that_of_a_sticky_split():
    both = tuple(backend(name, 2, balancing=Maglev(keys=(CookieKey("sid"),), table_size=251)) for name in ("v1", "v2"))
    scene = Scene(*shop(rule("v1", "v2", stickiness=CookieStickiness(name="release")), backends=both))
    caller = scene.ask()
    scene.attempt().answer(200, b"")
    names = [value.partition(b"=")[0] for value in caller.response.fields.all(b"set-cookie")]
    assert names == [b"release", b"sid"]
    scene.check()


def test_a_retry_goes_to_another_endpoint_and_the_cookie_is_one():
    resources = shop(
        rule("v1", retry=RetrySpec(conditions=("ConnectFailure",))),
        backends=(backend("v1", 3, balancing=RingHash(keys=(CookieKey("sid"),))),),
    )
    scene = Scene(*resources)
    caller = scene.ask()
    first = scene.attempt()
    first.fail("connect", "connect_refused")
    scene.clock.advance(1.0)
    assert scene.attempt().endpoint is not first.endpoint
    scene.attempt().answer(200, b"")
    assert len(caller.response.fields.all(b"set-cookie")) == 1
    scene.check()
