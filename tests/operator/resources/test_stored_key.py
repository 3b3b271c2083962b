"""An API key as a Secret keeps it: what is read, and that nothing of a refused one is told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sidewinder_operator.resources.stored_key import StoredKey, read, write

HASH = "sha256:" + "0" * 64
SECRET = "swk_planted_secret"

WRONG = {
    "no JSON": SECRET,
    "no object": f'["{SECRET}"]',
    "no hash": f'{{"note": "{SECRET}"}}',
    "another hash": f'{{"hash": "{SECRET}"}}',
    "an unknown field": f'{{"hash": "{HASH}", "key": "{SECRET}"}}',
    "a time without a zone": f'{{"hash": "{HASH}", "expires": "2030-01-01T00:00:00"}}',
    "no time": f'{{"hash": "{HASH}", "expires": "{SECRET}"}}',
    "a line break in metadata": f'{{"hash": "{HASH}", "metadata": {{"a": "b\\r\\n{SECRET}"}}}}',
    "metadata that is no text": f'{{"hash": "{HASH}", "metadata": {{"a": 1}}}}',
    "no UTF-8": b"\xff" + SECRET.encode(),
}


@pytest.mark.parametrize("raw", WRONG.values(), ids=WRONG)
def test_what_is_no_key_is_told_without_its_text(raw: str | bytes) -> None:
    with pytest.raises(ValueError, match="no API key") as refused:
        read(raw)
    assert SECRET not in str(refused.value)


def test_what_is_written_is_read() -> None:
    key = StoredKey(
        hash=HASH, plan="gold", metadata={"team": "web"}, created=datetime(2026, 1, 2, tzinfo=UTC), note="for Zoë"
    )
    assert read(write(key)) == key
    assert "expires" not in write(key)
    assert HASH not in repr(key)
