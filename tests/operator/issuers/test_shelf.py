"""What is kept over a restart is read again, or left out."""

from __future__ import annotations

from sidewinder_operator.issuers import shelf
from sidewinder_operator.issuers.shelf import MOST_BYTES, Kept, dump, lines, load, read
from tests.support.tokens import jwk, jwks

GOOD = Kept(jwks=jwks(jwk()), address="https://idp.example/jwks.json", etag='"a"')


def test_there_and_back():
    kept = {"b": GOOD, "a": Kept(problem="it is away")}
    assert load(dump(kept)) == kept
    assert read(lines(kept)) == kept


def test_what_cannot_be_read_is_left_out():
    assert load({"a": "{", "b": '{"jwks": "<html>"}', "c": '{"jwks": 7}', "d": dump({"d": GOOD})["d"]}) == {"d": GOOD}
    assert load({"a": dump({"a": Kept(jwks=jwks({"kty": "oct", "k": "AA"}))})["a"]}) == {}
    assert read(b"\xff") == read(b"[]") == read(b"") == {}


def test_what_is_too_much_in_all_is_left_out_the_largest_first():
    large = Kept(jwks="x" * (MOST_BYTES // 2))
    kept = {"a": large, "b": GOOD, "c": large}
    texts = dump(kept)
    assert len(texts) == 2
    assert "b" in texts
    assert sum(map(len, texts.values())) <= MOST_BYTES
    assert shelf.left_out(dump({"b": GOOD})) == []
