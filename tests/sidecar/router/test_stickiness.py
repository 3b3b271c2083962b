"""Users stay where they were; when weights move, only the changed share of them moves."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import Request
from sidewinder_sidecar.router.route import Share
from sidewinder_sidecar.router.stickiness import Cookie, Header, opaque, sticky
from sidewinder_sidecar.snapshot.routes import CookieStickiness, HeaderStickiness
from tests.sidecar.router.test_split import shares
from tests.support.calls import call
from tests.support.examples import examples

USERS = [b"user-%d" % number for number in range(4000)]


def homes(weights):
    made = shares(*weights)
    header = Header(HeaderStickiness("X-User"), made)
    return [header.find(fields((b"X-User", user))).name for user in USERS]


@pytest.mark.parametrize("weights", [(1, 1), (90, 10), (5, 3, 2), (1, 0, 1)])
def test_users_are_spread_by_weight(weights):
    counts = Counter(homes(weights))
    for number, weight in enumerate(weights):
        assert counts[f"v{number}"] / len(USERS) == pytest.approx(weight / sum(weights), abs=0.03)


@examples(25)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=2, max_size=4))
def test_when_weights_move_only_the_changed_share_moves(pairs):
    before, after = ([pair[side] for pair in pairs] for side in (0, 1))
    if not any(before) or not any(after):
        return
    old, new = homes(before), homes(after)
    moved = Counter((was, now) for was, now in zip(old, new, strict=True) if was != now)
    parts = [(b / sum(before), a / sum(after)) for b, a in zip(before, after, strict=True)]
    changed = sum(max(0.0, a - b) for b, a in parts)
    # Exact between two shares; with more of them, some up and some down, rendezvous is within twice of it.
    most = changed if len(pairs) == 2 else 2 * changed
    assert sum(moved.values()) / len(USERS) <= most + 0.05
    ratios = {f"v{n}": (a / b if b else float("inf")) for n, (b, a) in enumerate(zip(before, after, strict=True))}
    for was, now in moved:  # a user moves only towards a share that grew by more than its own did
        assert ratios[now] > ratios[was]


def test_a_canary_that_grows_takes_only_its_new_share():
    old, new = homes((90, 10)), homes((80, 20))
    moved = Counter((was, now) for was, now in zip(old, new, strict=True) if was != now)
    assert set(moved) == {("v0", "v1")}
    assert moved["v0", "v1"] / len(USERS) == pytest.approx(0.1, abs=0.02)


def test_without_the_header_the_split_says():
    assert Header(HeaderStickiness("x-user"), shares(1, 1)).find(fields()) is None
    assert Header(HeaderStickiness("x-user"), shares(0)).find(fields((b"x-user", b"a"))) is None
    assert Header(HeaderStickiness("x-user"), shares(1)).mark(shares(1)[0], call().request) is None


def test_the_cookie_names_no_backend_and_is_the_same_everywhere():
    made, again = shares(1, 1), shares(1, 1)
    cookie, other = (Cookie(CookieStickiness("release"), one) for one in (made, again))
    request = Request(b"GET", b"/", b"h", fields())
    marks = [cookie.mark(one, request) for one in made]
    assert marks == [other.mark(one, request) for one in again]
    assert marks[0] != marks[1]
    assert marks[0] == b"release=" + opaque("v0") + b"; Path=/; HttpOnly; SameSite=Lax"
    assert b"v0" not in marks[0]


def test_what_a_browser_sends_back():
    made = shares(1, 1)
    cookie = Cookie(CookieStickiness("release", 60.0), made)
    value = opaque("v1")
    for line in (b"release=" + value, b'a=b;release="' + value + b'"; c', b"release=unknown; release=" + value):
        assert cookie.find(fields((b"Cookie", line))) is made[1]
    assert cookie.find(fields((b"Cookie", b"a=1"), (b"Cookie", b"release=" + value))) is made[1]
    for line in (b"", b"release", b"release=", b"xrelease=" + value, b"release=v1", b"; ;=;"):
        assert cookie.find(fields((b"Cookie", line))) is None
    assert cookie.find(fields()) is None


def test_a_backend_without_weight_or_that_is_invalid_is_forgotten():
    made = shares(1, 0)
    cookie = Cookie(CookieStickiness("release"), [*made, Share(None, 1)])
    assert cookie.find(fields((b"Cookie", b"release=" + opaque("v1")))) is None
    assert cookie.mark(made[1], Request(b"GET", b"/", b"h", fields())) is None


def test_over_tls_the_cookie_is_secure_and_keeps_its_lifetime():
    made = shares(1)
    request = Request(b"GET", b"/", b"h", fields())
    request.scheme = b"https"
    mark = Cookie(CookieStickiness("release", 3600.0), made).mark(made[0], request)
    assert mark.endswith(b"; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure")


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a=b", "\r\n", "ä"])
def test_what_cannot_name_a_cookie(name):
    with pytest.raises(ValueError, match="cannot name a cookie"):
        sticky(CookieStickiness(name), shares(1))


def test_a_rule_without_stickiness():
    assert sticky(None, shares(1)) is None
