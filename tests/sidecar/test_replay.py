"""What is kept, until when, and how it is sent again."""

from __future__ import annotations

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.replay import BOUND, Replay


class Try:
    def __init__(self, writable=True):
        self.sent = []
        self.ended = None
        self.writable = writable

    def send_data(self, data):
        self.sent.append(data)
        return self.writable

    def send_end(self, trailers=None):
        self.ended = (trailers,)


def test_all_that_came_is_sent_as_often_as_asked():
    replay, trailers = Replay(), fields((b"x", b"1"))
    assert replay.keep(b"a")
    assert replay.keep(b"")
    assert replay.keep(b"b")
    first, second = Try(), Try()
    assert replay.play(first)
    replay.end(trailers)
    replay.play(second)
    assert (first.sent, first.ended) == ([b"a", b"b"], None)
    assert (second.sent, second.ended) == ([b"a", b"b"], (trailers,))


def test_nothing_yet_lets_the_head_go_and_an_empty_body_is_only_an_end():
    replay, first, second = Replay(), Try(), Try()
    replay.play(first)
    replay.end(None)
    replay.play(second)
    assert (first.sent, first.ended) == ([b""], None)
    assert (second.sent, second.ended) == ([], (None,))


def test_the_bound():
    replay = Replay()
    assert replay.keep(b"x" * BOUND)
    assert not replay.keep(b"x")
    assert replay._chunks == []
    assert repr(replay) == f"<Replay {BOUND + 1} bytes so far>"


def test_a_full_try_is_told():
    replay = Replay()
    replay.keep(b"a")
    assert not replay.play(Try(writable=False))
