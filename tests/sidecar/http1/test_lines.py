"""Field lines: split without a trace of the head before; hop-by-hop fields leave rows, index and source alike."""

from __future__ import annotations

import re
import timeit
from collections.abc import Callable

import pytest
from httptools import HttpParserError
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.fields import Fields, fields
from sidewinder_sidecar.http1 import lines
from tests.support.examples import examples


def split(block: bytes) -> Fields:
    head = b"GET / HTTP/1.1\r\n" + block + b"\r\n"
    return Fields(lines.splitter.split(head, 14), head[14:-2])


def test_names_keep_case_order_and_repetition() -> None:
    found = split(b"B: 1\r\na: 2\r\nb: 3\r\n")
    assert list(found) == [(b"b", b"B", b"1"), (b"a", b"a", b"2"), (b"b", b"b", b"3")]


@pytest.mark.parametrize(
    "before",
    [b"A\r\n", b"Connection: close\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"X: 1\r\n"],
)
def test_no_head_leaves_a_trace(before: bytes) -> None:
    try:
        split(before)
    except HttpParserError:
        pass
    assert list(split(b"X: y\r\n")) == [(b"x", b"X", b"y")]


STRIPPED = {
    "nothing to do": (b"A: 1\r\nB: 2\r\n", set(), b"A: 1\r\nB: 2\r\n"),
    "known": (b"A: 1\r\nConnection: close\r\nB: 2\r\n", {b"close"}, b"A: 1\r\nB: 2\r\n"),
    "nominated": (b"A: 1\r\nB: 2\r\n", {b"b"}, b"A: 1\r\n"),
    "equal lines": (b"TE: a\r\nA: 1\r\nTE: a\r\n", set(), b"A: 1\r\n"),
    "a value that looks like it": (b"A: x TE: a\r\nTE: a\r\n", set(), b"A: x TE: a\r\n"),
    "written otherwise": (b"A: 1\r\nTE:a\r\n", set(), None),
    "kept": (b"Host: a\r\nCookie: b\r\nContent-Type: c\r\nX-Forwarded-For: d\r\n",
             {b"host", b"cookie", b"content-type", b"x-forwarded-for"},
             b"Host: a\r\nCookie: b\r\nContent-Type: c\r\nX-Forwarded-For: d\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", STRIPPED)
def test_hop_by_hop_fields_are_stripped_everywhere(case: str) -> None:
    block, nominated, left = STRIPPED[case]
    found = split(block)
    lines.strip(found, nominated)
    assert found.source == (None if left is None else b"\r\n" + left)
    if left is not None:
        assert b"".join(b"%b: %b\r\n" % row[1:] for row in found) == left
    assert set(found.index) == {row[0] for row in found}


@pytest.mark.parametrize(
    ("value", "length"),
    [(b"0", 0), (b"5", 5), (b"007", 7), (b"", None), (b"+5", None), (b"5 ", None), (b"\xb2", None), (b"9" * 19, None)],
)
def test_content_length(value: bytes, length: int | None) -> None:
    made = fields((b"Content-Length", value))
    assert lines.content_length(value, made) == length
    if length is not None:
        assert made.all(b"content-length") == [b"%d" % length]


@pytest.mark.parametrize(
    ("seen", "at"), [(b"a", 1), (b"a\r", 2), (b"a\r\n", 3), (b"a\n", 1), (b"a\rb", 1), (b"\x00", 0), (b"a\tb\xff", 4)]
)
def test_bad_bytes(seen: bytes, at: int) -> None:
    assert lines.bad_byte(seen) == at


@given(st.binary(min_size=1), st.binary())
def test_a_table_leaves_what_is_allowed_and_nothing_else(allowed: bytes, text: bytes) -> None:
    assert (text.translate(lines.allowing(allowed)) == text) == (not text.translate(None, allowed))


@examples(300)
@given(st.text(alphabet="a \t\r\n\x00\x0b\x1f\x7f\xff", max_size=12).map(lambda text: text.encode("latin-1")))
def test_bad_bytes_are_those_of_the_pattern_however_they_come(seen: bytes) -> None:
    found = re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])", seen)
    at = found.start() if found else len(seen)
    assert lines.bad_byte(seen) == at
    for judged in range(at + 1):  # nothing was wrong with what came first
        if lines.bad_byte(seen[:judged]) == judged:
            assert lines.bad_byte(seen, judged) == at


def test_a_large_head_is_judged_at_the_speed_of_memory() -> None:
    pattern = re.compile(rb"[\x00-\x08]|(?<!\r)\n|\r(?=[^\n])")  # as slow as what it was done with
    head = b"x-a: " + b"b" * 60_000 + b"\r\n"

    def least(judge: Callable[[], object]) -> float:
        return min(timeit.repeat(judge, number=1, repeat=9))

    whole = least(lambda: lines.bad_byte(head))
    assert whole * 4 < least(lambda: pattern.search(head)), "it is not asked of every byte by itself"
    assert least(lambda: lines.bad_byte(head, len(head) - 1)) * 4 < whole, "what was judged is not judged again"


def test_options_of_several_fields() -> None:
    made = fields((b"Connection", b"Close , x-A"), (b"connection", b"keep-alive"))
    assert lines.options(made) == {b"close", b"x-a", b"keep-alive"}
