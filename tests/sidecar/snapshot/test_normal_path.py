"""The normal form; what it must withstand is in filters/test_path_normalization."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.snapshot.normal_path import PLAIN, Unclear, normal

WRONG = {
    "nothing": (b"", "no slash at its beginning"),
    "relative": (b"a/b", "no slash at its beginning"),
    "encoded slash": (b"/a%2Fb", "an encoded slash"),
    "backslash": (b"/a\\b", "a backslash"),
    "encoded backslash": (b"/a%5cb", "a backslash"),
    "parameters": (b"/a;b", "a semicolon"),
    "encoded semicolon": (b"/a%3Bb", "a semicolon"),
    "fragment": (b"/a#b", "a fragment"),
    "query": (b"/a?b", "a question mark"),
    "NUL": (b"/a%00", "a control byte"),
    "space": (b"/a b", "a space"),
    "broken code": (b"/a%2", "a percent sign without two hexadecimal digits"),
    "twice": (b"/a%252e", "a percent-encoded percent code"),
    "overlong": (b"/%C0%AF", "bytes that are no UTF-8"),
    "raw": ("/é".encode(), "a byte beyond ASCII"),
}


@pytest.mark.parametrize("merge", [True, False], ids=["merge", "strict"])
@pytest.mark.parametrize(("path", "why"), WRONG.values(), ids=WRONG)
def test_why_a_path_is_unclear(path, why, merge):
    with pytest.raises(Unclear) as told:
        normal(path, merge)
    assert str(told.value) == why


STRICTLY = {
    "letter": (b"/%61", "a percent code where none is needed"),
    "dot": (b"/%2e", "a percent code where none is needed"),
    "question mark": (b"/a%3f", "an encoded question mark or number sign"),
    "number sign": (b"/a%23b", "an encoded question mark or number sign"),
    "empty segment": (b"/a//b", "an empty segment"),
    "dot segment": (b"/a/./b", "a dot segment"),
    "dot segments at the end": (b"/a/..", "a dot segment"),
}


@pytest.mark.parametrize(("path", "why"), STRICTLY.values(), ids=STRICTLY)
def test_why_a_path_is_unclear_to_the_strict(path, why):
    with pytest.raises(Unclear) as told:
        normal(path, merge=False)
    assert str(told.value) == why
    normal(path)


def test_every_byte_has_one_way_to_be_written():
    """Encoded or not, it comes out the same, or one of the two is refused."""
    for byte in range(256):
        found = set()
        for written in (b"/x" + bytes((byte,)), b"/x%%%02x" % byte, b"/x%%%02X" % byte):
            try:
                found.add(normal(written))
            except Unclear:
                continue
        assert len(found) <= (2 if byte == 0x2F else 1), byte
        if byte in PLAIN:
            assert found == {b"/x" + bytes((byte,))}
