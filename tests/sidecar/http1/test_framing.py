"""Chunked bodies: what is one, what is not, and that no split of the bytes changes it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.http1.framing import EXTENSIONS, LONGEST_LINE, LONGEST_TRAILERS, BadFraming, Chunked

GOOD = {
    "empty": (b"0\r\n\r\n", b"", []),
    "one chunk": (b"5\r\nhello\r\n0\r\n\r\n", b"hello", []),
    "several chunks": (b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc", []),
    "leading zeros": (b"0005\r\nhello\r\n000\r\n\r\n", b"hello", []),
    "both cases": (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2, []),
    "extension": (b"5;a=b;c\r\nhello\r\n0;x\r\n\r\n", b"hello", []),
    "extension after white space": (b"5 ; a\r\nhello\r\n0\r\n\r\n", b"hello", []),
    "trailers": (b"0\r\nX-A: 1\r\nx-b:\t2 \r\n\r\n", b"", [(b"X-A", b"1"), (b"x-b", b"2")]),
    "line breaks in the data": (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n", []),
}

BAD = {
    "no size": b"\r\n",
    "not hexadecimal": b"g\r\n",
    "sign": b"+5\r\nhello\r\n",
    "minus": b"-5\r\n",
    "prefix": b"0x5\r\nhello\r\n",
    "underscore": b"1_0\r\n",
    "too many digits": b"1" + b"0" * 15 + b"\r\n",
    "space before": b" 5\r\nhello\r\n",
    "space after": b"5 \r\nhello\r\n",
    "bare LF after the size": b"5\nhello\r\n",
    "bare CR in the extension": b"5;a\rb\r\nhello\r\n",
    "NUL in the extension": b"5;a\x00\r\nhello\r\n",
    "chunk longer than its size": b"4\r\nhello\r\n",
    "bare LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "CR and something else": b"5\r\nhello\rX",
    "long line": b"5;" + b"a" * LONGEST_LINE + b"\r\n",
    "endless line": b"5;" + b"a" * (LONGEST_LINE + 9),
    "extensions that outweigh": (b"1;" + b"a" * 200 + b"\r\nx\r\n") * (EXTENSIONS // 200 + 1),
    "trailer without a colon": b"0\r\nx\r\n\r\n",
    "trailer with a space before the colon": b"0\r\nx : 1\r\n\r\n",
    "folded trailer": b"0\r\nx: 1\r\n y\r\n\r\n",
    "NUL in a trailer": b"0\r\nx: \x00\r\n\r\n",
    "bare LF in trailers": b"0\r\nx: 1\ny: 2\r\n\r\n",
    "endless trailers": b"0\r\nx: " + b"a" * LONGEST_TRAILERS,
    **{
        f"trailer {name}": b"0\r\n%b: 1\r\n\r\n" % name.encode()
        for name in ("Content-Length", "Transfer-Encoding", "Host", "Trailer", "Connection", "Authorization", "Cookie")
    },
}


def whole(data: bytes, cuts: list[int] | None = None) -> tuple[bytes, list[tuple[bytes, bytes]], bytes] | str:
    chunks = Chunked()
    body = b""
    borders = [0, *sorted(cuts or []), len(data)]
    try:
        for start, end in pairwise(borders):
            if chunks.ended:
                chunks.rest += data[start:end]
            else:
                body += chunks.feed(data[start:end])
    except BadFraming:
        return "bad"
    if not chunks.ended:
        return "unfinished"
    return body, [row[1:] for row in chunks.trailers or []], chunks.rest


@pytest.mark.parametrize("case", GOOD)
def test_a_body_is_found_whatever_the_split(case: str) -> None:
    data, body, trailers = GOOD[case]
    assert whole(data + b"GET /") == (body, trailers, b"GET /")
    for cut in range(1, len(data)):
        assert whole(data, [cut]) == (body, trailers, b"")
    assert whole(data, list(range(1, len(data)))) == (body, trailers, b"")


@pytest.mark.parametrize("case", BAD)
def test_what_can_be_read_in_two_ways_is_refused(case: str) -> None:
    assert whole(BAD[case]) == "bad"
    assert whole(BAD[case], list(range(1, len(BAD[case])))) == "bad"


@given(
    st.lists(st.binary(min_size=1, max_size=20), max_size=4),
    st.lists(st.sampled_from([b"\r", b"\n", b"0", b"5", b";", b"a", b"\x00", b" "]), max_size=8),
    st.integers(0, 60),
    st.lists(st.integers(0, 120), max_size=8),
)
def test_no_split_changes_what_is_read(bodies: list[bytes], noise: list[bytes], at: int, cuts: list[int]) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies) + b"0\r\n\r\n"
    data = data[:at] + b"".join(noise) + data[at:]
    assert whole(data, [min(cut, len(data)) for cut in cuts]) == whole(data)


def test_repr_says_where_it_is() -> None:
    chunks = Chunked()
    chunks.feed(b"5\r\nhe")
    assert repr(chunks) == "<Chunked data 3 left>"
