"""Claims as headers: nobody else's, in no spelling, and never more than one line."""

from __future__ import annotations

from typing import Any

import pytest

from sidewinder_sidecar.filters.authenticate.forward import remover, teller
from sidewinder_sidecar.snapshot.authentication import Forward
from tests.support.calls import call, rows


def test_no_spelling_gets_through() -> None:
    fields = call(
        b"/",
        (b"X-User-Id", b"1"),
        (b"x_user_id", b"2"),
        (b"X-USER_ID", b"3"),
        (b"X-User-Id", b"4"),
        (b"X-User", b"stays"),
        (b"x-forwarded-client-cert", b"5"),
    ).request.fields
    remover(("x-user-id",))(fields)
    assert rows(fields) == [(b"X-User", b"stays")]


SENT = {
    "text": ("alice", b"alice"),
    "a number": (42, b"42"),
    "a truth": (True, b"true"),
    "a list": (["a", "b"], b"a,b"),
    "a comma in a member": (["a,b", "c%"], b"a%2Cb,c%25"),
    "not ASCII": ("Zoë", "Zoë".encode()),
    "an empty list": ([], None),
    "an object": ({"a": 1}, None),
    "nothing": (None, None),
}


@pytest.mark.parametrize(("claim", "value"), SENT.values(), ids=SENT)
def test_a_claim_is_sent(claim: Any, value: bytes | None) -> None:
    fields = call().request.fields
    tell = teller((Forward("sub", "x-user-id"),))
    assert tell is not None
    assert tell(fields, {"sub": claim})
    assert fields.get(b"x-user-id") == value


@pytest.mark.parametrize("text", ["a\r\nb", "a\nb", "a\x00b", "\x7f"], ids=["crlf", "lf", "nul", "del"])
def test_a_control_character_is_never_sent(text: str) -> None:
    fields = call().request.fields
    tell = teller((Forward("a.b", "x-b"),))
    assert tell is not None
    assert not tell(fields, {"a": {"b": ["fine", text]}})
    assert b"x-b" not in fields


def test_nothing_to_tell_costs_nothing() -> None:
    assert teller(()) is None


@pytest.mark.parametrize("name", ["host", "content-length", "a b"])
def test_headers_of_the_proxy_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="header"):
        teller((Forward("sub", name),))
