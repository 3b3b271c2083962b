"""Conversations with a caller, by hand: bytes in, requests out, time when the test says so."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidewinder_sidecar.downstream.http1 import UNREAD
from sidewinder_sidecar.errors import TABLE
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.wire import OPEN
from tests.support.http1 import Down, Echo, run, turns

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKS = b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\nX-T: 1\r\n\r\n"
CLOSE = b"GET /d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
OLD = b"GET /e HTTP/1.0\r\n\r\n"
BAD = b"GET /f HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
CUT = b"PUT /g HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX"

Test = Callable[[], Coroutine[Any, Any, None]]


def looped(test: Test) -> Callable[[], None]:
    """Run with a loop that turns only when the test waits."""

    def wrapped() -> None:
        run(test)

    wrapped.__name__ = test.__name__
    wrapped.__doc__ = test.__doc__
    return wrapped


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


@settings(max_examples=150, deadline=None)
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


@settings(max_examples=150, deadline=None)
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


@looped
async def test_a_slow_head_is_given_its_time_as_a_whole() -> None:
    down = Down(Echo)
    for at in range(9):
        await down.say(GET[at : at + 1])
        down.proxy.clock.advance(1)
    assert not down.transport.sent
    down.proxy.clock.advance(1.1)
    assert down.statuses() == [408]
    assert down.exchange.refused == "request_timeout"
    assert down.transport.ended


@looped
async def test_an_idle_connection_is_closed() -> None:
    down = Down(Echo)
    await down.say(GET)
    down.proxy.clock.advance(74)
    assert not down.transport.ended
    await down.say(GET)
    down.proxy.clock.advance(74)
    assert not down.transport.ended
    down.proxy.clock.advance(1.1)
    assert down.transport.ended
    assert down.statuses() == [200, 200]


@looped
async def test_a_body_that_stops_coming_is_told_so() -> None:
    down = Down()
    await down.say(POST[:-2])
    down.proxy.clock.advance(59)
    await down.say(POST[-2:-1])
    down.proxy.clock.advance(59)
    assert not down.transport.sent
    down.proxy.clock.advance(1.1)
    assert down.statuses() == [408]
    assert down.exchange.refused == "request_timeout"


@looped
async def test_a_body_that_the_exchange_does_not_take_is_not_the_caller_s_fault() -> None:
    down = Down()
    await down.say(POST[:-2])
    down.connection.pause()
    assert not down.transport.reading
    down.proxy.clock.advance(500)
    assert not down.transport.sent
    down.connection.resume()
    assert down.transport.reading
    down.proxy.clock.advance(59)
    assert not down.transport.sent


@looped
async def test_a_caller_that_half_closes_is_answered() -> None:
    down = Down()
    await down.say(GET + GET)
    down.transport.hear_eof()
    down.exchange.answer(200, b"x")
    await turns()
    down.exchange.answer(201, b"y")
    assert down.statuses() == [200, 201]
    assert down.transport.sent.count(b"Connection: close") == 1
    assert down.transport.ended


@looped
async def test_a_caller_that_said_fin_is_given_up_when_no_answer_begins() -> None:
    down = Down()
    await down.say(GET)
    down.transport.hear_eof()
    down.proxy.clock.advance(1.9)
    assert not down.exchange.gone
    down.proxy.clock.advance(0.2)
    assert down.exchange.gone == "caller_gone"
    assert down.transport.aborted


@looped
async def test_half_a_request_and_fin_is_nobody() -> None:
    down = Down()
    await down.say(POST[:-2])
    down.transport.hear_eof()
    assert down.exchange.gone == "caller_gone"
    assert not down.exchange.ended
    assert down.transport.aborted


@looped
async def test_the_connection_limit_is_told() -> None:
    down = Down(limits=Limits(connections=1))
    down.listener.connections.add(object())  # type: ignore[arg-type]
    other = Down(limits=Limits(connections=1))
    other.listener.connections.add(object())  # type: ignore[arg-type]
    other.connection.on_open()
    assert other.statuses() == [503]
    assert b"connection_limit_reached" in other.transport.sent
    assert other.listener.turned_away == 1
    await other.say(GET)
    assert not other.proxy.exchanges


@looped
async def test_draining_lets_what_runs_finish() -> None:
    busy, idle = Down(), Down(Echo)
    await busy.say(GET)
    await idle.say(GET)
    busy.connection.drain()
    idle.connection.drain()
    assert idle.transport.ended
    assert not busy.transport.ended
    busy.exchange.answer(200, b"x")
    assert b"Connection: close" in busy.transport.sent
    assert busy.transport.ended


@looped
async def test_what_comes_after_the_end_is_thrown_away() -> None:
    down = Down(Echo)
    await down.say(BAD)
    sent = await down.say(GET, GET)
    assert down.statuses() == [400]
    assert sent == down.transport.sent
    assert down.transport.eof
    assert down.transport.reading, "or the kernel would reset, and take the answer with it"
    down.proxy.clock.advance(2.1)
    assert down.transport.aborted


def upgrade(*more: bytes) -> bytes:
    return b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + b"".join(more) + b"\r\n"


@looped
async def test_a_tunnel() -> None:
    from sidewinder_sidecar.fields import fields
    from sidewinder_sidecar.messages import Response

    down = Down()
    await down.say(upgrade() + b"early")
    exchange = down.exchange
    assert exchange.ended
    assert exchange.body == b""
    down.connection.open_tunnel(Response(101, fields()))
    assert down.transport.sent.endswith(b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert exchange.body == b"early"
    await down.say(b"more")
    assert exchange.body == b"earlymore"
    down.connection.send_data(b"back")
    assert down.transport.sent.endswith(b"\r\n\r\nback")
    exchange.ended = False
    down.transport.hear_eof()
    assert exchange.ended
    assert not down.transport.closing
    down.connection.send_data(b"last")
    down.connection.send_end()
    assert down.transport.sent.endswith(b"backlast")
    assert down.transport.closing
    down.transport.settle()
    assert not exchange.gone


@looped
async def test_a_tunnel_that_the_upstream_ends_first() -> None:
    from sidewinder_sidecar.fields import fields
    from sidewinder_sidecar.messages import Response

    down = Down()
    await down.say(upgrade())
    down.exchange.ended = False
    down.connection.open_tunnel(Response(101, fields()))
    down.connection.send_end()
    assert down.transport.eof
    await down.say(b"still")
    assert down.exchange.body == b"still"
    down.transport.hear_eof()
    assert down.exchange.ended
    assert down.transport.lost
    assert not down.exchange.gone


@looped
async def test_a_refused_upgrade_leaves_an_ordinary_connection() -> None:
    down = Down()
    await down.say(upgrade() + GET)
    down.exchange.answer(403, b"no")
    await turns()
    down.exchange.answer(200, b"x")
    assert down.statuses() == [403, 200]


@looped
async def test_what_follows_a_refused_connect_is_no_request() -> None:
    down = Down()
    await down.say(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n" + GET)
    down.exchange.answer(403, b"no")
    await turns()
    assert len(down.proxy.exchanges) == 1
    assert down.transport.ended


@looped
async def test_repr_says_what_it_does() -> None:
    down = Down()
    await down.say(POST[:-1])
    assert repr(down.connection) == "<Connection 192.0.2.7:40000 body>"
    assert down.connection.wired == OPEN
