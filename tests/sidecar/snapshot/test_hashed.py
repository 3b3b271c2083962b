"""How passwords and keys are kept: what is read, what is refused, and that only the right password fits."""

from __future__ import annotations

from base64 import b64encode

import pytest

from sidewinder_sidecar.snapshot.hashed import KEY, Password, key_hash, password


def kept(cost: int = 10, block: int = 8, rounds: int = 1, secret: bytes = b"hush") -> str:
    made = Password(cost, block, rounds, b"0123456789abcdef", b"\0" * 32).made(secret)
    salt, digest = (b64encode(part).decode().rstrip("=") for part in (b"0123456789abcdef", made))
    return f"$scrypt$ln={cost},r={block},p={rounds}${salt}${digest}"


def test_only_the_password_fits() -> None:
    found = password(kept())
    assert found.fits(b"hush")
    assert not found.fits(b"hush ")
    assert not found.fits(b"")


def test_rfc_7914_agrees() -> None:
    # section 12, the third vector
    wanted = bytes.fromhex(
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
        "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
    )
    assert Password(14, 8, 1, b"SodiumChloride", wanted).fits(b"pleaseletmein")


REFUSED = {
    "bcrypt": "$2y$05$abcdefghijklmnopqrstuuK1JQGTvT4VXlzB0Bjw1Bl9LpDl0sQbe",
    "sha": "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
    "plain": "hush",
    "nothing": "",
    "more than fits a proxy": "$scrypt$ln=17,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$" + "A" * 43,
    "too weak": "$scrypt$ln=1,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$" + "A" * 43,
    "no blocks": "$scrypt$ln=14,r=0,p=1$MDEyMzQ1Njc4OWFiY2RlZg$" + "A" * 43,
    "too slow": "$scrypt$ln=14,r=8,p=99$MDEyMzQ1Njc4OWFiY2RlZg$" + "A" * 43,
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_other_hashes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="scrypt") as refused:
        password(text)
    assert not text or text not in str(refused.value)


def test_keys_are_kept_by_their_hash() -> None:
    key = b"swk_abcdefgh23_" + b"a" * 52
    assert KEY.fullmatch(key)
    assert key_hash(key).startswith("sha256:")
    assert len(key_hash(key)) == 71
