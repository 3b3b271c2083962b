"""Only one reading: what two parsers read differently is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.filters.authenticate.strict import DEEPEST, Unclear, read


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'"a"', id="a text"),
        pytest.param(b'{"sub":"ann","sub":"root"}', id="a name twice"),
        pytest.param(b'{"a":{"b":1,"b":2}}', id="a name twice, inside"),
        pytest.param(b'{"sub":"ann","s\\u0075b":"root"}', id="a name twice, escaped"),
        pytest.param(b'{"exp":NaN}', id="NaN"),
        pytest.param(b'{"exp":Infinity}', id="Infinity"),
        pytest.param(b'{"exp":-Infinity}', id="-Infinity"),
        pytest.param(b'{"exp":1e999}', id="beyond all bounds"),
        pytest.param(b'{"exp":' + b"9" * 41 + b"}", id="a long number"),
        pytest.param(b'{"exp":' + b"9" * 8000 + b"}", id="a number of 8000 digits"),
        pytest.param(b'{"exp":1.' + b"0" * 50 + b"}", id="a long fraction"),
        pytest.param(b'{"sub":"\\ud800"}', id="half a character"),
        pytest.param(b'{"\\udfff":1}', id="half a character in a name"),
        pytest.param(b'{"sub":"\xff"}', id="no UTF-8"),
        pytest.param(b'{"sub":"\xc0\x80"}', id="an overlong form"),
        pytest.param(b'{"a":1} {"b":2}', id="two objects"),
        pytest.param(b'{"a":1,}', id="a comma too many"),
        pytest.param(b'{"a":"\n"}', id="a line's end in a text"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', id="a byte order mark"),
        pytest.param(b'{"a":' + b"[" * 20 + b"]" * 20 + b"}", id="twenty levels"),
        pytest.param(b'{"a":' * 2000 + b"1" + b"}" * 2000, id="two thousand levels"),
        pytest.param(b"[" * 8000, id="eight thousand brackets"),
    ],
)
def test_refused(raw):
    with pytest.raises(Unclear):
        read(raw)


def test_as_deep_as_is_allowed():
    raw = b'{"a":' * (DEEPEST - 1) + b"1" + b"}" * (DEEPEST - 1)
    assert read(raw) == json.loads(raw)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), _VALUES, max_size=6))
def test_what_is_clear_is_read_as_everybody_reads_it(found):
    try:
        told = read(json.dumps(found).encode())
    except Unclear as unclear:
        told = str(unclear)
    assert told == found or "levels" in told or "half" in told
