"""What a caller gives is read or ignored, what is written parses again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.resilience import deadline

CASES = [
    ((b"x-request-deadline", b"1500ms"), 1.5),
    ((b"x-request-deadline", b" 2s "), 2.0),
    ((b"x-request-deadline", b"1.5s"), 1.5),
    ((b"x-request-deadline", b"250us"), 0.00025),
    ((b"x-request-deadline", b"2m"), 120.0),
    ((b"x-request-deadline", b"0ms"), 0.0),
    ((b"grpc-timeout", b"100m"), 0.1),
    ((b"grpc-timeout", b"5S"), 5.0),
    ((b"grpc-timeout", b"1M"), 60.0),
    ((b"grpc-timeout", b"1H"), 3600.0),
    ((b"grpc-timeout", b"7u"), 7e-6),
    ((b"grpc-timeout", b"7n"), 7e-9),
]
UNREADABLE = [
    b"",
    b"1500",
    b"ms",
    b"-1s",
    b"1e3s",
    b"1,5s",
    b"1s2",
    b"2026-11-21T13:00:00Z",
    b"9" * 100 + b"s",
    b"\xff",
]


@pytest.mark.parametrize(("pair", "seconds"), CASES)
def test_what_the_caller_gives(pair, seconds):
    assert deadline.asked(fields(pair)) == pytest.approx(seconds)


@pytest.mark.parametrize("name", [b"x-request-deadline", b"grpc-timeout"])
@pytest.mark.parametrize("value", UNREADABLE)
def test_what_cannot_be_read_is_ignored(name, value):
    assert deadline.asked(fields((name, value))) is None


def test_nothing_said_and_both_said():
    assert deadline.asked(fields()) is None
    both = fields((b"x-request-deadline", b"2s"), (b"grpc-timeout", b"1S"))
    assert deadline.asked(both) == 1.0
    both = fields((b"x-request-deadline", b"1s"), (b"grpc-timeout", b"2S"))
    assert deadline.asked(both) == 1.0
    assert deadline.asked(fields((b"x-request-deadline", b"never"), (b"grpc-timeout", b"2S"))) == 2.0


@given(st.floats(deadline.SHORTEST, 86_400))
def test_what_is_written_is_never_more_than_what_is_left(left):
    told = fields((b"grpc-timeout", b"1H"))
    deadline.write(told, left)
    assert left - 0.0010001 <= deadline.asked(told) <= left + 1e-9
    assert len(told.get(b"grpc-timeout")) <= 9


def test_a_second_try_writes_over_the_first():
    told = fields((b"X-Request-Deadline", b"5s"))
    deadline.write(told, 3.0)
    deadline.write(told, 1.0)
    assert [row[2] for row in told] == [b"1000ms"]
    assert told.get(b"grpc-timeout") is None
