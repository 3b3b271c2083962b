"""One write for a head and what follows it; a body that breaks its word is never complete for the peer."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.http1.lines import CHUNKED, CLOSE, LENGTH, NONE
from sidewinder_sidecar.http1.sending import Sender
from tests.support.http1 import LIMITS, Proxy
from tests.support.transport import FakeTransport, connect


def sender(ending: int, owed: int = 0, room: int = 1 << 30) -> tuple[Sender, FakeTransport]:
    made = Sender(Proxy().wheel, LIMITS)
    transport = connect(made, room)
    made.held, made.ending, made.owed = b"HEAD;", ending, owed
    return made, transport


BODIES = {
    "known length": (LENGTH, 5, [b"he", b"llo"], b"HEAD;hello", 2),
    "known length, one piece": (LENGTH, 5, [b"hello"], b"HEAD;hello", 1),
    "chunked": (CHUNKED, 0, [b"he", b"llo"], b"HEAD;2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 3),
    "chunked without a piece": (CHUNKED, 0, [], b"HEAD;0\r\n\r\n", 1),
    "until close": (CLOSE, 0, [b"hello"], b"HEAD;hello", 1),
    "none": (NONE, 0, [b"hello"], b"HEAD;", 1),
    "nothing yet": (LENGTH, 5, [b"", b"hello"], b"HEAD;hello", 2),
    "large": (LENGTH, 100000, [b"x" * 100000], b"HEAD;" + b"x" * 100000, 1),
    "large chunk": (CHUNKED, 0, [b"x" * 65536], b"HEAD;10000\r\n" + b"x" * 65536 + b"\r\n0\r\n\r\n", 2),
}


@pytest.mark.parametrize("case", BODIES)
def test_bodies(case: str) -> None:
    ending, owed, pieces, sent, writes = BODIES[case]
    made, transport = sender(ending, owed)
    for piece in pieces:
        assert made.send_body(piece)
    assert made.send_last(None)
    assert transport.sent == sent
    assert transport.writes == writes
    assert not transport.closing


def test_trailers() -> None:
    made, transport = sender(CHUNKED)
    made.send_last(fields((b"X-A", b"1")))
    assert transport.sent == b"HEAD;0\r\nX-A: 1\r\n\r\n"


def test_a_body_shorter_than_told_is_cut_off() -> None:
    made, transport = sender(LENGTH, 5)
    made.send_body(b"he")
    assert not made.send_last(None)
    assert transport.aborted


def test_a_body_longer_than_told_is_cut_off_before_it_is() -> None:
    made, transport = sender(LENGTH, 5)
    made.send_body(b"hello")
    made.send_body(b"GET / HTTP/1.1\r\n\r\n")
    assert transport.aborted
    assert transport.sent == b"HEAD;hello"


def test_room_is_told() -> None:
    made, transport = sender(CLOSE, room=10)
    assert made.send_body(b"x" * 1000)
    assert not made.send_body(b"x" * 100000)
    transport.take()
    assert made.send_body(b"x")
