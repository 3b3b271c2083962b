"""What claims must say: RFC 7519 section 4 and RFC 8725 section 3, one table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.filters.authenticate.demands import Demands, scopes
from sidewinder_sidecar.filters.authenticate.verdict import INVALID, SCOPE
from sidewinder_sidecar.snapshot.authentication import JwtProvider, RequiredClaim
from tests.support.tokens import AUDIENCE, ISSUER

NOW = 1_800_000_000.0


def said(**more):
    found = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": NOW + 300, **more}
    return {name: value for name, value in found.items() if value is not None}


def demands(**more) -> Demands:
    return Demands(JwtProvider(**{"name": "idp", "keys": "idp", "issuer": ISSUER, "audiences": (AUDIENCE,), **more}))


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param(said(), id="the least"),
        pytest.param(said(aud=["a", AUDIENCE]), id="one of several audiences"),
        pytest.param(said(exp=NOW - 59.5), id="expired, within the skew"),
        pytest.param(said(nbf=NOW + 59), id="valid soon, within the skew"),
        pytest.param(said(iat=NOW + 59), id="made soon, within the skew"),
        pytest.param(said(exp=NOW + 0.5), id="a fraction"),
        pytest.param(said(sub=None), id="no subject"),
    ],
)
def test_enough(claims):
    assert demands().refuse(claims, NOW) is None


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        pytest.param(said(iss=None), "issuer", id="no issuer"),
        pytest.param(said(iss="https://idp.example/"), "issuer", id="issuer with a slash"),
        pytest.param(said(iss="HTTPS://IDP.EXAMPLE"), "issuer", id="issuer in capitals"),
        pytest.param(said(iss=[ISSUER]), "issuer", id="issuers in a list (CVE-2025-45768-like)"),
        pytest.param(said(iss="https://idp.exampl"), "issuer", id="a part of the issuer (CVE-2024-53861)"),
        pytest.param(said(aud=None), "audience", id="no audience"),
        pytest.param(said(aud="other"), "audience", id="another audience"),
        pytest.param(said(aud="book"), "audience", id="a part of the audience"),
        pytest.param(said(aud=[]), "audience", id="no audience in a list"),
        pytest.param(said(aud=[[AUDIENCE]]), "audience", id="a list in a list"),
        pytest.param(said(aud={AUDIENCE: 1}), "audience", id="an object"),
        pytest.param(said(aud=True), "audience", id="a truth"),
        pytest.param(said(exp=None), "exp", id="never expires"),
        pytest.param(said(exp=NOW - 60), "expired", id="expired"),
        pytest.param(said(exp=0), "expired", id="expired in 1970"),
        pytest.param(said(exp=str(NOW + 300)), "exp", id="a text"),
        pytest.param(said(exp=True), "exp", id="exp is a truth"),
        pytest.param(said(exp=[NOW + 300]), "exp", id="exp in a list"),
        pytest.param(said(exp=-1), "exp", id="before 1970"),
        pytest.param(said(exp=(NOW + 300) * 1000), "exp", id="milliseconds"),
        pytest.param(said(exp=10**39), "exp", id="beyond all times"),
        pytest.param(said(nbf=NOW + 61), "not valid yet", id="not yet"),
        pytest.param(said(nbf="soon"), "nbf", id="nbf a text"),
        pytest.param(said(iat=NOW + 61), "future", id="from the future"),
        pytest.param(said(iat="now"), "iat", id="iat a text"),
        pytest.param(said(sub=7), "sub", id="subject a number"),
        pytest.param(said(sub=["ann"]), "sub", id="subject a list"),
        pytest.param(said(azp={}), "azp", id="azp an object"),
    ],
)
def test_not_enough(claims, why):
    refusal = demands().refuse(claims, NOW)
    assert refusal is not None
    assert refusal.error == INVALID
    assert why in refusal.description
    assert "example" not in refusal.description


def test_without_an_audience_of_ours_only_tokens_without_one_pass():
    anybody = demands(audiences=())
    assert anybody.refuse(said(aud=None), NOW) is None
    assert anybody.refuse(said(aud=[]), NOW) is None
    assert anybody.refuse(said(aud="other"), NOW) is not None


@pytest.mark.parametrize(
    ("claims", "enough"),
    [
        pytest.param({"scope": "a b c"}, True, id="scope"),
        pytest.param({"scp": "b a"}, True, id="scp"),
        pytest.param({"scp": ["a", "b"]}, True, id="scp in a list"),
        pytest.param({"scope": ["a", "b"]}, True, id="scope in a list"),
        pytest.param({"scope": "a"}, False, id="one of two"),
        pytest.param({"scope": "ab"}, False, id="run together"),
        pytest.param({"scope": "a\tb"}, False, id="a tab between"),
        pytest.param({"scope": "A B"}, False, id="capitals"),
        pytest.param({"scope": {"a": 1, "b": 1}}, False, id="an object"),
        pytest.param({"scope": "", "scp": "a b"}, False, id="scope wins over scp"),
        pytest.param({}, False, id="none"),
    ],
)
def test_all_scopes_are_needed(claims, enough):
    refusal = demands(required_scopes=("a", "b")).refuse(said(**claims), NOW)
    assert (refusal is None) is enough
    if refusal is not None:
        assert (refusal.error, refusal.scope) == (SCOPE, "a b")


@pytest.mark.parametrize(
    ("claims", "enough"),
    [
        pytest.param({"groups": ["x", "members"]}, True, id="a member"),
        pytest.param({"groups": "members"}, True, id="a text"),
        pytest.param({"groups": ["member"]}, False, id="another"),
        pytest.param({"groups": {"members": 1}}, False, id="an object"),
        pytest.param({}, False, id="none"),
    ],
)
def test_required_claims(claims, enough):
    wanted = demands(required_claims=(RequiredClaim(claim="groups", values=("members", "admins")),))
    assert (wanted.refuse(said(**claims), NOW) is None) is enough


def test_required_claims_by_path_and_by_url():
    wanted = demands(
        required_claims=(
            RequiredClaim(claim="realm.roles", values=("a",)),
            RequiredClaim(claim="https://x.example/role", values=("b",)),
        )
    )
    assert wanted.refuse(said(**{"realm": {"roles": ["a"]}, "https://x.example/role": "b"}), NOW) is None
    assert wanted.refuse(said(realm={"roles": ["a"]}), NOW) is not None


@given(st.floats(0, 4e9), st.floats(0, 300))
def test_what_passes_ends_when_it_says(now, skew):
    wanted = demands(skew=skew)
    claims = said(exp=now + 1)
    until = wanted.until(claims)
    assert wanted.refuse(claims, now) is None
    assert wanted.refuse(claims, until) is not None
    assert wanted.refuse(claims, min(until - 1e-3, until * (1 - 1e-9))) is None


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=8))
def test_whatever_a_claim_is_nothing_breaks(value):
    for name in ("iss", "aud", "exp", "nbf", "iat", "sub", "azp", "scope", "scp", "groups"):
        claims = {**said(), name: value}
        demands(required_scopes=("a",), required_claims=(RequiredClaim(claim="groups", values=("x",)),)).refuse(
            claims, NOW
        )
        scopes(claims)
