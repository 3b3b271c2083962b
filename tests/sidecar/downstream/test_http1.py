"""Conversations with a caller, by hand: bytes in, requests out; answers framed by version and method."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.downstream.http1 import UNREAD, Connection
from sidewinder_sidecar.errors import TABLE
from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import Peer, Response
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.wire import OPEN
from tests.support.examples import examples
from tests.support.http1 import Down, Echo, run, turns
from tests.support.transport import connect

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKS = b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\nX-T: 1\r\n\r\n"
CLOSE = b"GET /d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
OLD = b"GET /e HTTP/1.0\r\n\r\n"
BAD = b"GET /f HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
CUT = b"PUT /g HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
ASKING = POST[:-5]  # its body is to come
EXPECT = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"

Test = Callable[[], Coroutine[Any, Any, None]]


def looped(test: Test) -> Callable[[], None]:
    """Run with a loop that turns only when the test waits."""

    def wrapped() -> None:
        run(test)

    wrapped.__name__ = test.__name__
    wrapped.__doc__ = test.__doc__
    return wrapped


def began(data: bytes) -> Down:
    down = Down()
    down.connection.data_received(data)
    return down


@looped
async def test_a_request_is_one_exchange() -> None:
    down = Down(Echo)
    sent = await down.say(GET)
    assert sent.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: ")
    assert b"(b'GET', b'/a', b'a', [(b'Host', b'a')], b'', [])" in sent
    assert down.transport.writes == 1
    assert down.exchange.peer.address == "192.0.2.7"
    assert not down.transport.closing


@looped
async def test_bodies_by_length_and_by_chunks() -> None:
    down = Down(Echo)
    sent = await down.say(POST, CHUNKS)
    assert b"(b'Content-Length', b'5')], b'hello', [])" in sent
    assert b"b'hello', [(b'X-T', b'1')])" in sent


@looped
async def test_pipelined_requests_are_answered_in_order_and_one_at_a_time() -> None:
    down = Down()
    await down.say(GET + POST + CHUNKS)
    assert len(down.proxy.exchanges) == 1
    down.exchange.answer(200, b"first")
    await turns()
    assert [exchange.request.target for exchange in down.proxy.exchanges] == [b"/a", b"/b"]
    assert down.exchange.body == b"hello"
    down.exchange.answer(201, b"second")
    await turns()
    down.exchange.answer(202, b"third")
    assert down.statuses() == [200, 201, 202]
    assert down.exchange.trailers is not None


@looped
async def test_ten_thousand_pipelined_requests_are_taken_in_turns() -> None:
    down = Down(Echo)
    data = GET * 2000
    down.connection.data_received(data)
    assert len(down.proxy.exchanges) == 16, "others have their turn"
    assert not down.transport.reading
    for _ in range(200):
        await turns()
    assert len(down.proxy.exchanges) == 2000
    assert down.transport.reading
    assert down.connection.unread == b""


@pytest.mark.parametrize("waiting", [GET * 16, GET + b"POST / HTTP/1.1\r\nX: " + b"y" * UNREAD], ids=["many", "much"])
def test_reading_stops_when_too_much_waits(waiting: bytes) -> None:
    async def main() -> None:
        down = Down()
        await down.say(GET + GET)
        assert down.transport.reading
        await down.say(waiting)
        assert not down.transport.reading
        for _ in range(3):
            down.exchange.answer(204)
            await turns(2)
        assert down.transport.reading

    run(main)


CASES = {
    "close": (CLOSE + GET, [200], True),
    "1.0": (OLD + GET, [200], True),
    "1.0 keep-alive": (b"GET /e HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + GET, [200, 200], False),
    "empty line first": (b"\r\n" + GET, [200], False),
    "empty line between": (GET + b"\r\n" + GET + b"\r\n" + GET, [200, 200, 200], False),
    "two empty lines": (b"\r\n\r\n" + GET, [400], True),
    "empty line and a bad byte": (b"\r\n\x01" + GET, [400], True),
    "lone LF between": (GET + b"\n" + GET, [200, 400], True),
    "lone CR between": (GET + b"\r" + GET, [200, 400], True),
    "refused": (BAD + b"x" + GET, [400], True),
    "refused after a good one": (GET + BAD, [200, 400], True),
    "broken chunk": (CUT + GET, [400], True),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400], True),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", [505], True),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [400], True),
    "length that hides a request": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(GET) + GET + POST, [200, 200], False,
    ),
    "h2c with a body": (
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(GET)
        + GET + POST, [200, 200], False,
    ),
    "nothing": (b"", [], False),
    "unfinished": (GET[:-1], [], False),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_conversations_do_not_depend_on_the_split(case: str) -> None:
    data, statuses, ends = CASES[case]

    async def main() -> None:
        whole = await outcome(data)
        assert whole[0] == statuses
        assert whole[2] is ends
        for cut in range(1, len(data)):
            assert await outcome(data[:cut], data[cut:]) == whole, cut
        assert await outcome(*(data[at : at + 1] for at in range(len(data)))) == whole

    run(main)


async def outcome(*pieces: bytes) -> tuple[list[int], bytes, bool, list[tuple[bytes, bytes]]]:
    down = Down(Echo)
    await down.say(*pieces)
    seen = [(one.request.target, one.body) for one in down.proxy.exchanges if one.request and one.ended]
    return down.statuses(), down.transport.sent, down.transport.ended, seen


@examples(150)
@given(
    st.lists(st.sampled_from([GET, POST, CHUNKS, CLOSE, OLD, BAD, CUT, b"\r\n", b"\n", b"\x00", b"GET "]), max_size=5),
    st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=2),
    st.lists(st.integers(0, 500), max_size=6),
)
def test_any_bytes_in_any_split_are_one_conversation(
    messages: list[bytes], noise: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    data = b"".join(messages)
    for at, more in noise:
        data = data[:at] + more + data[at:]
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(borders) if start < end]

    async def main() -> None:
        whole = await outcome(data)
        assert await outcome(*pieces) == whole
        assert set(whole[0]) <= {200} | {rule.status for rule in TABLE.values()}

    run(main)


@examples(150)
@given(st.lists(st.binary(max_size=60), max_size=8), st.integers(0, 3), st.booleans())
def test_a_caller_that_leaves_at_any_point_leaves_nothing(pieces: list[bytes], answer: int, eof: bool) -> None:
    async def main() -> None:
        down = Down()
        await down.say(POST[: len(POST) - answer], *pieces)
        if down.proxy.exchanges and answer == 0 and down.connection.serving is not None:
            down.exchange.answer(200, b"x")
        if eof:
            down.transport.hear_eof()
        down.proxy.clock.advance(200)
        down.transport.lose(ConnectionResetError())
        await turns()
        assert down.connection.serving is None
        assert not down.listener.connections
        down.proxy.clock.advance(1)
        assert len(down.proxy.wheel) == 0

    run(main)


ANSWERS = {
    "known length": (GET, 200, 5, [b"he", b"llo"], None),
    "chunked": (GET, 200, None, [b"he", b"llo"], None),
    "trailers": (GET, 200, None, [b"hello"], (b"X-T", b"1")),
    "empty chunked": (GET, 200, None, [], None),
    "empty": (GET, 200, 0, [], None),
    "HEAD": (HEAD, 200, 5, [b"hello"], None),
    "204": (GET, 204, 0, [b"hello"], None),
    "304": (GET, 304, None, [], None),
    "1.0 known length": (OLD, 200, 5, [b"hello"], None),
    "1.0 until close": (OLD, 200, None, [b"he", b"llo"], (b"X-T", b"1")),
}


@pytest.mark.parametrize("whole", [False, True], ids=["in pieces", "whole"])
@pytest.mark.parametrize("case", ANSWERS)
def test_answers_read_by_another(case: str, whole: bool) -> None:
    asked, status, length, pieces, trailer = ANSWERS[case]
    if whole:
        trailer = None

    async def main() -> None:
        down = began(asked)
        connection = down.connection
        answer = Response(status, fields((b"A", b"1"), (b"a", b"2")), length)
        if whole:
            connection.send_head(answer, b"".join(pieces))
            assert down.transport.writes == 1
        else:
            connection.send_head(answer, None)
            for piece in pieces:
                connection.send_data(piece)
            connection.send_end(fields(trailer) if trailer else None)
        peer = h11.Connection(h11.CLIENT)
        method = asked.split(b" ")[0]
        peer.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        peer.receive_data(down.transport.sent)
        if down.transport.ended:
            peer.receive_data(b"")
        event = peer.next_event()
        assert type(event) is h11.Response
        assert event.status_code == status
        assert [row for row in event.headers.raw_items() if row[0] in (b"A", b"a")] == [(b"A", b"1"), (b"a", b"2")]
        body = b""
        while type(event := peer.next_event()) is h11.Data:
            body += bytes(event.data)
        assert type(event) is h11.EndOfMessage
        bodiless = method == b"HEAD" or status in (204, 304)
        assert body == (b"" if bodiless else b"".join(pieces))
        assert list(event.headers) == ([(b"x-t", b"1")] if trailer and asked is GET else [])
        assert down.transport.ended is (asked is OLD)
        assert connection.serving is None

    run(main)


def test_a_head_that_comes_alone_is_let_go() -> None:
    down = began(GET)
    down.connection.send_head(Response(200, fields()), None)
    assert not down.transport.sent
    down.connection.send_data(b"")
    assert down.transport.sent.endswith(b"\r\n\r\n")


def test_a_final_answer_to_who_waits_to_continue_ends_the_connection() -> None:
    async def main() -> None:
        down = began(EXPECT)
        down.exchange.answer(403, b"no")
        assert b"Connection: close" in down.transport.sent
        assert down.transport.eof
        await down.say(b"hello" + GET)
        assert len(down.proxy.exchanges) == 1

    run(main)


def test_an_early_answer_goes_on_beside_the_request() -> None:
    async def main() -> None:
        down = began(ASKING + b"he")
        connection = down.connection
        connection.send_head(Response(200, fields(), 4), None)
        connection.send_data(b"ab")
        await down.say(b"llo")
        assert down.exchange.ended
        connection.send_data(b"cd")
        connection.send_end()
        assert b"Connection: close" in down.transport.sent
        assert down.transport.sent.endswith(b"abcd")
        assert down.transport.ended

    run(main)


def test_an_answer_that_breaks_its_word_is_cut() -> None:
    down = began(GET)
    down.connection.send_head(Response(200, fields(), 5), None)
    down.connection.send_data(b"he")
    down.connection.send_end()
    assert down.transport.aborted
    assert down.connection.serving is None


@looped
async def test_repr_says_what_it_does() -> None:
    down = Down()
    await down.say(POST[:-1])
    assert repr(down.connection) == "<Connection 192.0.2.7:40000 body>"
    assert down.connection.wired == OPEN


@looped
async def test_another_proxy_is_told_once_if_it_must_not_wait_long() -> None:
    told = b"\r\nKeep-Alive: timeout=30\r\n\r\n"
    for identity, idle, data, count in (
        ("spiffe://a/b", 30.0, GET + GET, 1),
        ("spiffe://a/b", 30.0, CLOSE, 0),
        ("spiffe://a/b", 75.0, GET, 0),
        ("", 30.0, GET, 0),
    ):
        down = Down(Echo, Limits(idle_seconds=idle))
        peer = Peer("192.0.2.7", 50000)
        peer.identity = identity
        down.connection = Connection(down.listener, "", peer)
        down.transport = connect(down.connection)
        sent = await down.say(data)
        assert sent.count(b"HTTP/1.1 200 OK") == data.count(b"GET")
        assert (sent.count(told), sent.count(b"Keep-Alive")) == (count, count)
