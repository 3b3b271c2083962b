"""Keys that verify: which are found for a token, and that the algorithm is the key's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sidewinder_sidecar.filters.authenticate.keys import MOST_TRIED, KeySet, signs
from sidewinder_sidecar.filters.authenticate.token import parse
from sidewinder_sidecar.snapshot.authentication import KeysSpec
from tests.sidecar.filters.authenticate.test_token import RFC7515_A2
from tests.sidecar.snapshot.test_jwks import RFC_EC, RFC_OKP, RFC_RSA
from tests.support.tokens import ALGORITHMS, b64, jwk, keys, private, token


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_verifies_its_own_and_nothing_else(algorithm):
    found = KeySet(keys(jwk(algorithm)))
    good = parse(token(algorithm=algorithm))
    assert signs(found.find(good), good)
    for other in ALGORITHMS:
        if other != algorithm:
            forged = parse(token(algorithm=other, kid=algorithm.lower()))
            assert not signs(found.find(forged), forged), other


def test_ed448_verifies():
    raw = parse(token(algorithm="EdDSA", name="Ed448"))
    assert signs(KeySet(keys(jwk("EdDSA", name="Ed448"))).find(raw), raw)


def test_the_same_key_under_another_algorithm_is_refused():
    """A key for PS256 never verifies RS256, though it could: the token does not choose."""
    forged = parse(token(algorithm="RS256", kid="ps256", key=private("PS256")))
    assert not signs(KeySet(keys(jwk("PS256"))).find(forged), forged)
    named = parse(token(algorithm="RS256", kid="rs256", header={"alg": "RS512"}))
    assert not signs(KeySet(keys(jwk("RS256"))).find(named), named)


@pytest.mark.parametrize(
    "mangle",
    [
        pytest.param(lambda signature: bytes(len(signature)), id="zeroes (CVE-2022-21449)"),
        pytest.param(lambda signature: signature[:-1], id="shorter"),
        pytest.param(lambda signature: signature + b"\0", id="longer"),
        pytest.param(lambda signature: bytes([signature[0] ^ 1]) + signature[1:], id="one bit"),
        pytest.param(lambda signature: b"\x30\x06\x02\x01\x01\x02\x01\x01", id="DER"),
        pytest.param(lambda signature: b"\0", id="one byte"),
    ],
)
@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES512", "EdDSA"])
def test_a_signature_that_is_none(algorithm, mangle):
    good = parse(token(algorithm=algorithm))
    good.signature = mangle(good.signature)
    assert not signs(KeySet(keys(jwk(algorithm))).find(good), good)


RFC_P521 = {
    "kty": "EC",
    "crv": "P-521",
    "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
    "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
}
RFC_BILBO = {
    "kty": "RSA",
    "kid": "bilbo.baggins@hobbiton.example",
    "use": "sig",
    "n": "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wq"
    "VwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3"
    "uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdr"
    "NP5zw",
    "e": "AQAB",
}
A3 = (
    b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    b".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
A4 = (
    b"eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7"
    b"XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
)
ED25519 = (
    b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylG"
    b"jg5BhVsPt9g7sVvpAr_MuM0KAg"
)
SENTENCE = (
    "It\u2019s a dangerous business, Frodo, going out your door. You step onto the road, and if you don't keep "
    "your feet, "
    "there\u2019s no knowing where you might be swept off to."
)
BILBO = (
    b64(b'{"alg":"RS256","kid":"bilbo.baggins@hobbiton.example"}') + b"." + b64(SENTENCE.encode()) + b"."
    b"MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA7818"
    b"5hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_"
    b"de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg"
)  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        pytest.param(RFC7515_A2, RFC_RSA, id="RFC 7515 A.2: RS256"),
        pytest.param(A3, RFC_EC, id="RFC 7515 A.3: ES256"),
        pytest.param(A4, RFC_P521, id="RFC 7515 A.4: ES512"),
        pytest.param(BILBO, RFC_BILBO, id="RFC 7520 4.1: RS256"),
        pytest.param(ED25519, RFC_OKP, id="RFC 8037 A.4: EdDSA"),
    ],
)
def test_vectors_hold_and_nothing_but_them(raw, key):
    found, known = KeySet(keys(key)), parse(raw)
    assert signs(found.find(known), known)
    known.signed += b"A"
    assert not signs(found.find(known), known)


@pytest.mark.parametrize(
    ("listed", "kid", "count"),
    [
        pytest.param([jwk(kid="a"), jwk("ES256", kid="b")], "b", 1, id="by its kid"),
        pytest.param([jwk(kid="a"), jwk("ES256", kid="b")], "c", 0, id="an unknown kid"),
        pytest.param([jwk(kid="a"), jwk("ES256", kid="b")], "", 2, id="no kid: all"),
        pytest.param([jwk(kid="a"), jwk("ES256", kid="")], "", 1, id="no kid: those without"),
        pytest.param([jwk(kid="a"), jwk("ES256", kid="")], "c", 1, id="an unknown kid: those without"),
        pytest.param([jwk(kid="a"), jwk("ES256", kid="a")], "a", 2, id="one kid, two algorithms"),
    ],
)
def test_which_keys_are_tried(listed, kid, count):
    assert len(KeySet(keys(*listed)).find(parse(token(header={"kid": kid})))) == count


def test_the_tries_are_bounded():
    listed = [{**RFC_EC, "kid": ""} for _ in range(50)]
    assert len(KeySet(keys(*listed)).find(parse(token(header={"kid": None})))) == MOST_TRIED


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        pytest.param(KeysSpec(name="idp", missing="away"), "away", id="said by the operator"),
        pytest.param(KeysSpec(name="idp"), "there are none", id="not said"),
        pytest.param(KeysSpec(name="idp", jwks="<html>"), "it is not JSON", id="no JWK Set"),
        pytest.param(keys({**RFC_EC, "x": b64(bytes(31) + b"\1").decode()}), "none of the keys", id="beside its curve"),
    ],
)
def test_without_keys_it_says_why(spec, why):
    found = KeySet(spec)
    assert why in found.missing
    assert found.find(parse(token())) == []


def test_a_key_that_is_none_leaves_the_others():
    off = {**RFC_EC, "kid": "off", "x": b64(bytes(31) + b"\1").decode()}
    found = KeySet(keys(off, jwk()))
    assert not found.missing
    assert repr(found) == "<KeySet idp 1 keys>"
    assert repr(found.find(parse(token()))) == "[<Key RS256>]"


def test_the_library_is_loaded_by_the_first_key_and_not_before():
    code = (
        "import sys\n"
        "from sidewinder_sidecar.filters.authenticate import jwt\n"
        "assert not {'jwt', 'cryptography'} & set(sys.modules)\n"
        "from sidewinder_sidecar.filters.authenticate.keys import KeySet\n"
        "from sidewinder_sidecar.snapshot.authentication import KeysSpec\n"
        "import json\n"
        f"KeySet(KeysSpec(name='a', jwks=json.dumps({{'keys': [{RFC_EC!r}]}})))\n"
        "assert {'jwt', 'cryptography'} <= set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
