"""cors: what a browser is told, by the Fetch standard; of whom, and never with another origin's answer."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.errors import refusal, render
from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.filters import cors
from sidewinder_sidecar.means import Means
from sidewinder_sidecar.messages import Response
from sidewinder_sidecar.snapshot.policies import CorsSpec
from tests.support.calls import call, rows

SHOP = b"https://shop.example"
ASKS = ((b"Origin", SHOP), (b"Access-Control-Request-Method", b"PATCH"))
SPEC = CorsSpec(
    policy="shop/public",
    allow_origins=("https://shop.example", "https://*.shop.example:8443"),
    allow_methods=("GET", "PATCH"),
    allow_headers=("x-api-key",),
    expose_headers=("x-total",),
    max_age=600,
)


def made(**changes):
    means = Means()
    spec = {field: getattr(SPEC, field) for field in SPEC.__struct_fields__} | changes
    return cors.build(CorsSpec(**spec), means.count), means


def told(subject: cors.Cors, *received, method=b"GET", answered=(), status=200):
    """The CORS headers and Vary of an answer to a request with these headers."""
    asked = call(b"/", *received, method=method)
    response = Response(status, fields(*answered))
    subject.answer(asked, response)
    return [(name.lower(), value) for name, value in rows(response.fields) if name.lower() != b"content-type"]


def preflight(subject: cors.Cors, *received):
    reply = subject.apply(call(b"/", *received, method=b"OPTIONS"))
    assert reply is not None
    assert (reply.status, reply.error) == (204, "")
    return told(subject, *received, method=b"OPTIONS", status=204)


def test_a_preflight_is_answered_with_what_is_allowed() -> None:
    subject, means = made()
    assert preflight(subject, *ASKS, (b"Access-Control-Request-Headers", b"x-api-key")) == [
        (b"vary", b"Origin"),
        (b"access-control-allow-origin", SHOP),
        (b"access-control-allow-methods", b"GET, PATCH"),
        (b"access-control-allow-headers", b"x-api-key"),
        (b"access-control-max-age", b"600"),
    ]
    assert means.decisions == {("cors", "Allow", "shop/public"): 1}


def test_a_preflight_of_another_origin_is_told_nothing_and_goes_no_further() -> None:
    subject, means = made()
    asks = ((b"Origin", b"https://evil.example"), (b"Access-Control-Request-Method", b"GET"))
    assert preflight(subject, *asks) == [(b"vary", b"Origin")]
    assert means.decisions == {("cors", "Deny", "shop/public"): 1}


@pytest.mark.parametrize(
    ("method", "received"),
    [
        (b"GET", ASKS),
        (b"OPTIONS", ((b"Origin", SHOP),)),
        (b"OPTIONS", ((b"Access-Control-Request-Method", b"GET"),)),
    ],
    ids=["another method", "no method asked for", "no origin"],
)
def test_what_is_no_preflight_passes(method: bytes, received) -> None:
    subject, _ = made()
    assert subject.apply(call(b"/", *received, method=method)) is None


ORIGINS = {
    b"https://shop.example": True,
    b"https://shop.example:443": False,  # no browser writes the scheme's own port
    b"http://shop.example": False,
    b"https://SHOP.example": False,
    b"https://shop.example.evil.example": False,
    b"https://evilshop.example": False,
    b"https://a.shop.example:8443": True,
    b"https://a.b.shop.example:8443": True,
    b"https://a.shop.example": False,
    b"https://.shop.example:8443": False,
    b"https://shop.example:8443": False,
    b"https://evil.example/.shop.example:8443": False,
    b"https://evil.example#.shop.example:8443": False,
    b"https://user@.shop.example:8443": False,
    b"https://evil.example:80.shop.example:8443": False,
    b"null": False,
    b"": False,
    b"*": False,
    b"https://shop.example, https://evil.example": False,
}


@pytest.mark.parametrize(("origin", "allowed"), ORIGINS.items(), ids=[o.decode() or "empty" for o in ORIGINS])
def test_who_is_allowed(origin: bytes, allowed: bool) -> None:
    subject, _ = made()
    found = dict(told(subject, (b"Origin", origin)))
    assert (b"access-control-allow-origin" in found) == allowed
    assert found.get(b"access-control-allow-origin", origin) == origin
    assert found[b"vary"] == b"Origin"


def test_every_answer_says_vary_even_to_who_sent_no_origin() -> None:
    subject, _ = made()
    assert told(subject) == [(b"vary", b"Origin")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [b"Origin"]),
        ([b"accept-encoding"], [b"accept-encoding", b"Origin"]),
        ([b"accept, ORIGIN"], [b"accept, ORIGIN"]),
        ([b"*"], [b"*"]),
        ([b"accept", b"origin"], [b"accept", b"origin"]),
    ],
    ids=["none", "another", "there", "all", "in two"],
)
def test_vary_is_kept(before: list[bytes], after: list[bytes]) -> None:
    subject, _ = made()
    found = told(subject, answered=[(b"Vary", value) for value in before])
    assert [value for name, value in found if name == b"vary"] == after


def test_what_the_application_says_is_replaced() -> None:
    subject, _ = made()
    own = [
        (b"Access-Control-Allow-Origin", b"*"),
        (b"access-control-allow-credentials", b"true"),
        (b"Access-Control-Expose-Headers", b"x-secret"),
        (b"Access-Control-Allow-Private-Network", b"true"),
    ]
    assert told(subject, (b"Origin", SHOP), answered=own) == [
        (b"vary", b"Origin"),
        (b"access-control-allow-origin", SHOP),
        (b"access-control-expose-headers", b"x-total"),
    ]
    assert told(subject, (b"Origin", b"https://evil.example"), answered=own) == [(b"vary", b"Origin")]


def test_a_private_network_is_not_granted() -> None:
    subject, _ = made()
    found = preflight(subject, *ASKS, (b"Access-Control-Request-Private-Network", b"true"))
    assert not any(b"private-network" in name for name, _ in found)


def test_every_origin_is_answered_with_a_star() -> None:
    subject, _ = made(allow_origins=("*",))
    found = dict(told(subject, (b"Origin", b"https://anybody.example")))
    assert found[b"access-control-allow-origin"] == b"*"
    assert b"access-control-allow-credentials" not in found


def test_credentials_are_never_for_everybody() -> None:
    with pytest.raises(ValueError, match="every origin"):
        made(allow_origins=("https://shop.example", "*"), allow_credentials=True)


def test_with_credentials_a_star_gives_back_what_was_asked_for() -> None:
    subject, _ = made(allow_methods=("*",), allow_headers=("*",), allow_credentials=True)
    found = preflight(subject, *ASKS, (b"Access-Control-Request-Headers", b"x-a, x-b"))
    assert (b"access-control-allow-methods", b"PATCH") in found
    assert (b"access-control-allow-headers", b"x-a, x-b") in found
    assert (b"access-control-allow-credentials", b"true") in found
    assert [value for name, value in found if name == b"vary"] == [
        b"Origin",
        b"Access-Control-Request-Method",
        b"Access-Control-Request-Headers",
    ]


def test_without_credentials_a_star_is_a_star() -> None:
    subject, _ = made(allow_methods=("*",), allow_headers=("*",))
    found = dict(preflight(subject, *ASKS, (b"Access-Control-Request-Headers", b"x-a")))
    assert found[b"access-control-allow-methods"] == found[b"access-control-allow-headers"] == b"*"


def test_our_own_refusal_can_be_read_by_the_page() -> None:
    subject, _ = made()
    asked = call(b"/", (b"Origin", SHOP))
    response, _ = render(refusal("denied"), asked.request, "sidewinder")
    subject.answer(asked, response)
    assert response.fields.get(b"access-control-allow-origin") == SHOP
