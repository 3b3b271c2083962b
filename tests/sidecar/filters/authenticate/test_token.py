"""Tokens taken apart: the vectors of the RFCs, and what is refused before a signature is looked at."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.filters.authenticate.token import LONGEST, Malformed, parse
from tests.support.tokens import b64, token

GOOD = token()
RFC7515_A2 = (
    b"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
    b"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZ"
    b"cAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-e"
    b"OkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
)


def test_the_vector_of_rfc_7515():
    found = parse(RFC7515_A2)
    assert (found.algorithm, found.key) == ("RS256", "")
    assert json.loads(found.claims) == {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}
    assert found.signed == RFC7515_A2.rpartition(b".")[0]
    assert len(found.signature) == 256
    assert repr(found) == "<Token RS256>"


def headed(**header: object) -> bytes:
    return token(header=header)


RFC7519_6_1 = (
    b"eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl"
    b"fQ."
)
RFC7515_A1 = (
    b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19"
    b"yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)
RFC7797_4_2 = b"eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19..A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY"

ATTACKS = [
    pytest.param(RFC7519_6_1, id="RFC 7519 6.1: unsecured"),
    pytest.param(RFC7515_A1, id="RFC 7515 A.1: HS256"),
    pytest.param(RFC7797_4_2, id="RFC 7797 4.2: detached and not encoded"),
    pytest.param(b"a.b.c.d.e", id="five parts: JWE"),
    pytest.param(b"", id="nothing"),
    pytest.param(b"a", id="one part"),
    pytest.param(b"a.b", id="two parts"),
    pytest.param(b"." * 8000, id="eight thousand dots"),
    pytest.param(b"a.b.c.d", id="four parts"),
    pytest.param(GOOD + b".", id="a dot at the end"),
    pytest.param(b"." + GOOD, id="a dot at the beginning"),
    pytest.param(b" " + GOOD, id="a blank before"),
    pytest.param(GOOD + b"\n", id="a line's end behind"),
    pytest.param(GOOD + b"=", id="padding"),
    pytest.param(GOOD.rpartition(b".")[0] + b".", id="no signature"),
    pytest.param(GOOD.replace(b".", b"..", 1), id="no claims"),
    pytest.param(b"." + GOOD.partition(b".")[2], id="no header"),
    pytest.param(b"A" * (LONGEST + 1), id="too long"),
    pytest.param(token(b'{"a":"' + b"x" * 6000 + b'"}'), id="claims of 6000 bytes: too long as a token"),
    pytest.param(headed(pad="x" * 3100), id="header too long"),
    *[pytest.param(headed(alg=name), id=f"alg {name!r}") for name in (
        "none", "None", "NONE", "nOnE", "", " RS256", "rs256", "HS256", "HS384", "HS512", "ES256K", "RS1", "RSA-OAEP",
        "dir", "A256GCM", None, 7, ["RS256"], {"a": 1}, True,
    )],
    *[pytest.param(headed(crit=value), id=f"crit {value!r}") for value in (["exp"], [], "b64", ["b64"], {}, False)],
    pytest.param(headed(b64=False), id="b64 false"),
    pytest.param(headed(b64=True), id="b64 true"),
    pytest.param(headed(cty="JWT"), id="nested"),
    pytest.param(headed(cty="jwt"), id="nested, small letters"),
    *[pytest.param(headed(typ=name), id=f"typ {name!r}") for name in (
        "dpop+jwt", "logout+jwt", "secevent+jwt", "oauth-authz-req+jwt", "token-introspection+jwt", "JOSE", "", 7, [],
    )],
    *[pytest.param(headed(kid=value), id=f"kid {str(value)[:9]!r}") for value in (7, ["a"], {"a": 1}, "k" * 300)],
    pytest.param(token(header=b'{"alg":"RS256","alg":"none"}'), id="alg twice"),
    pytest.param(token(header=b'{"alg":"RS256"'), id="header no JSON"),
    pytest.param(token(header=b'["RS256"]'), id="header a list"),
    pytest.param(token(header=b"\xff"), id="header no UTF-8"),
    pytest.param(token(header=b'{"alg":"RS256","a":' + b"[" * 40 + b"]" * 40 + b"}"), id="header nested"),
]  # fmt: skip


@pytest.mark.parametrize("raw", ATTACKS)
def test_refused_before_any_signature(raw):
    with pytest.raises(Malformed) as refused:
        parse(raw)
    assert "eyJ" not in str(refused.value)


@pytest.mark.parametrize(
    "header",
    [{"typ": None}, {"typ": "jwt"}, {"typ": "at+jwt"}, {"typ": "application/at+jwt"}, {"kid": None}, {"jku": "https://evil.example"},
     {"x5c": ["MIIC"]}, {"jwk": {"kty": "RSA"}}, {"x5t": "a"}, {"nonce": "n"}],
    ids=str,
)  # fmt: skip
def test_taken(header):
    assert parse(token(header=header)).algorithm == "RS256"


@given(st.binary(max_size=80))
def test_whatever_comes_is_a_token_or_malformed(raw):
    for text in (raw, b64(raw) + b"." + b64(raw) + b"." + b64(raw)):
        try:
            parse(text)
        except Malformed:
            pass


@given(st.integers(0, len(GOOD) - 1), st.sampled_from(b"AZaz09-_=.+/ \n\x00\xff"))
def test_no_other_spelling_is_the_same_token(place, letter):
    other = GOOD[:place] + bytes([letter]) + GOOD[place + 1 :]
    if other == GOOD:
        return
    try:
        found = parse(other)
    except Malformed:
        return
    good = parse(GOOD)
    assert (found.signed, found.signature) != (good.signed, good.signature)
