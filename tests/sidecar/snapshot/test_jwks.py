"""Which keys are taken, which are passed over, and what spoils a whole set. RFC 7515, 7517, 7518 and 8037 vectors."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.snapshot import jwks
from sidewinder_sidecar.snapshot.jwks import Unfit, decoded, judge, members
from tests.support.tokens import ALGORITHMS, b64, jwk
from tests.support.tokens import jwks as written

# RFC 7515 appendix A.2 and A.3, RFC 8037 appendix A.2
RFC_RSA = {
    "kty": "RSA",
    "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS"
    "-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xs"
    "mtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    "e": "AQAB",
}
RFC_EC = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
RFC_OKP = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        pytest.param(RFC_RSA, "RS256", id="RFC 7515 A.2"),
        pytest.param(RFC_EC, "ES256", id="RFC 7515 A.3"),
        pytest.param(RFC_OKP, "EdDSA", id="RFC 8037 A.2"),
        *[pytest.param(jwk(name), name, id=name) for name in ALGORITHMS],
        pytest.param(jwk("RS256", alg=None), "RS256", id="RSA without alg"),
        pytest.param(jwk("ES384", alg=None), "ES384", id="P-384 without alg"),
        pytest.param(jwk("EdDSA", name="Ed448"), "EdDSA", id="Ed448"),
        pytest.param(jwk("RS256", use="sig", key_ops=["verify"], x5t="a", extra=[{}]), "RS256", id="what else it has"),
    ],
)
def test_a_key_is_taken_with_its_own_algorithm(key, algorithm):
    (found,) = judge(written(key)).keys
    assert found.alg == algorithm
    assert found.identifier == key.get("kid", "")
    assert all(key[name] == value for name, value in members(found) if name != "alg")


@pytest.mark.parametrize(
    ("key", "why"),
    [
        pytest.param({"kty": "AKP"}, "kty", id="unknown kind"),
        pytest.param(jwk(use="enc"), "use", id="to encrypt with"),
        pytest.param(jwk(key_ops=["encrypt"]), "key_ops", id="not to verify with"),
        pytest.param(jwk(alg="RSA-OAEP"), "alg", id="RSA, another algorithm"),
        pytest.param(jwk(alg="HS256"), "alg", id="RSA named HS256"),
        pytest.param(jwk(alg="none"), "alg", id="RSA named none"),
        pytest.param(jwk("ES256", alg="ES384"), "alg", id="algorithm of another curve"),
        pytest.param(jwk("ES256", crv="secp256k1"), "crv", id="curve that is not taken"),
        pytest.param(jwk("ES256", crv="Ed25519"), "crv", id="curve of another kind"),
        pytest.param(jwk("ES256", crv=["P-256"]), "crv", id="curve in a list"),
        pytest.param(jwk("ES256", x=jwk("ES256")["x"] + "A"), "x", id="a longer coordinate"),
        pytest.param(jwk(e="AQ"), "exponent", id="exponent 1"),
        pytest.param(jwk(e="Ag"), "exponent", id="exponent 2"),
        pytest.param(jwk(n=b64(b"\xff" * 128).decode()), "1024 bits", id="1024 bits"),
        pytest.param(jwk(n=b64(b"\xff" * 2048).decode()), "16384 bits", id="16384 bits"),
        pytest.param(jwk(n=None), "base64url", id="no modulus"),
        pytest.param(jwk(n=jwk()["n"] + "="), "base64url", id="padding"),
        pytest.param(jwk(kid=7), "kid", id="a number for a kid"),
        pytest.param(jwk(kid="k" * 257), "kid", id="a long kid"),
    ],
)
def test_a_key_for_something_else_is_passed_over(key, why):
    found = judge(written(key, jwk("EdDSA")))
    assert [each.alg for each in found.keys] == ["EdDSA"]
    assert why in found.passed_over[0]
    with pytest.raises(Unfit, match="no key in it can verify"):
        judge(written(key))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(written(jwk(), {"kty": "oct", "k": "c2VjcmV0"}), id="a shared secret"),
        *[
            pytest.param(written(jwk(), jwk("ES256", **{name: "AQ"})), id=f"a private key ({name})")
            for name in ("d", "p", "k")
        ],
        pytest.param(written(jwk(), jwk(name="other")), id="two keys of one kid"),
        pytest.param("<html>sign in</html>", id="a page"),
        pytest.param("[]", id="a list"),
        pytest.param('{"keys": {}}', id="keys no list"),
        pytest.param('{"keys": [7]}', id="a number among them"),
        pytest.param('{"keys": []}', id="no key"),
        pytest.param("[" * 100_000, id="nested"),
        pytest.param(b'{"keys": "\xff"}', id="no UTF-8"),
        pytest.param(written(*[jwk(kid=str(number)) for number in range(101)]), id="101 keys"),
        pytest.param(" " * ((1 << 20) + 1), id="more than 1 MB"),
    ],
)
def test_a_set_is_refused_whole(text):
    with pytest.raises(Unfit) as refused:
        judge(text)
    assert "c2VjcmV0" not in str(refused.value)
    assert "html" not in str(refused.value)


def test_the_same_keys_are_the_same_text_and_certificates_are_left_out():
    one, other = jwk("RS256", x5c=["MIIC"], x5u="https://a/"), jwk("ES256")
    text = judge(written(one, other)).text()
    assert text == judge(written(other, jwk("RS256"))).text() == judge(text).text()
    assert not [name for key in json.loads(text)["keys"] for name in key if name.startswith("x5")]


def test_no_algorithm_is_shared_with_secrets():
    assert not [name for name in jwks.ALGORITHMS if name.startswith(("HS", "none"))]


@given(st.binary(max_size=64))
def test_bytes_have_one_spelling(raw):
    text = b64(raw).decode()
    assert decoded(text) == (raw or None)
    for other in (text + "=", text + "==", " " + text, text + "\n", text.replace("_", "/"), text[:-1]):
        assert decoded(other) != raw or other == text


@pytest.mark.parametrize("text", ["", "A", "AR", "AAAAA", "a+b/", "é", "AA AA", None, 7])
def test_what_is_no_canonical_base64url_is_nothing(text):
    assert decoded(text) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["keys", "kty", "n", "e", "crv", "x", "kid", "alg", "use"]), inner)
        ),
        max_leaves=20,
    )
)
def test_whatever_comes_is_judged_or_refused(thing):
    try:
        judge(json.dumps(thing))
    except Unfit:
        pass
