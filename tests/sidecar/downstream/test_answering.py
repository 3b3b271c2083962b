"""Answers on their way to a caller: framing by version and method, early ones, cut ones, the caller's pace."""

from __future__ import annotations

import h11
import pytest

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import Response
from tests.support.http1 import Down, run, turns

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
EXPECT = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"


def began(data: bytes) -> Down:
    down = Down()
    down.connection.data_received(data)
    return down


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


@pytest.mark.parametrize("case", ANSWERS)
def test_answers_read_by_another(case: str) -> None:
    asked, status, length, pieces, trailer = ANSWERS[case]

    async def main() -> None:
        down = began(asked)
        connection = down.connection
        connection.send_head(Response(status, fields((b"A", b"1"), (b"a", b"2")), length), False)
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
    down.connection.send_head(Response(200, fields()), False)
    assert not down.transport.sent
    down.connection.send_data(b"")
    assert down.transport.sent.endswith(b"\r\n\r\n")


INFORMED = {
    "103": (GET, 103, True),
    "103 to 1.0": (OLD, 103, False),
    "100 to who waits": (EXPECT, 100, True),
    "100 to who does not": (POST, 100, False),
    "100 to 1.0": (EXPECT.replace(b"HTTP/1.1", b"HTTP/1.0"), 100, False),
}


@pytest.mark.parametrize("case", INFORMED)
def test_informational_answers(case: str) -> None:
    asked, status, passed = INFORMED[case]
    down = began(asked)
    down.connection.send_informational(Response(status, fields((b"Link", b"</a>"))))
    down.connection.send_informational(Response(100, fields()))
    found = down.statuses()
    assert found[:1] == [status] if passed else not found
    assert found.count(100) <= 1


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
        down = began(POST + b"he")
        connection = down.connection
        connection.send_head(Response(200, fields(), 4), False)
        connection.send_data(b"ab")
        await down.say(b"llo")
        assert down.exchange.ended
        connection.send_data(b"cd")
        connection.send_end()
        assert b"Connection: close" in down.transport.sent
        assert down.transport.sent.endswith(b"abcd")
        assert down.transport.ended

    run(main)


@pytest.mark.parametrize("asked", [GET, OLD], ids=["chunked", "until close"])
def test_a_cut_answer_never_looks_complete(asked: bytes) -> None:
    down = began(asked)
    down.connection.send_head(Response(200, fields()), False)
    down.connection.send_data(b"he")
    down.connection.reset("incomplete")
    assert down.transport.aborted
    assert not down.transport.sent.endswith(b"0\r\n\r\n")
    assert down.connection.serving is None
    down.transport.lose()
    assert not down.exchange.gone, "it knows"


def test_an_answer_that_breaks_its_word_is_cut() -> None:
    down = began(GET)
    down.connection.send_head(Response(200, fields(), 5), False)
    down.connection.send_data(b"he")
    down.connection.send_end()
    assert down.transport.aborted
    assert down.connection.serving is None


def test_the_caller_s_pace_is_passed_on() -> None:
    async def main() -> None:
        down = Down(room=1000)
        await down.say(GET)
        down.connection.send_head(Response(200, fields()), False)
        assert not down.connection.send_data(b"x" * 100000)
        down.transport.take()
        assert down.exchange.writable == 1
        assert down.connection.send_data(b"x")

    run(main)


def test_a_draining_proxy_says_close() -> None:
    async def main() -> None:
        down = Down()
        down.proxy.draining = True
        await down.say(GET)
        down.exchange.answer(200, b"x")
        await turns()
        assert b"Connection: close" in down.transport.sent
        assert down.transport.ended

    run(main)


def test_after_the_loss_nothing_is_written_and_nothing_raised() -> None:
    down = began(GET)
    connection = down.connection
    down.transport.lose(ConnectionResetError())
    assert down.exchange.gone == "caller_gone"
    connection.send_head(Response(200, fields(), 5), False)
    connection.send_data(b"hello")
    connection.send_end()
    connection.pause()
    connection.resume()
    connection.reset("x")
    assert not down.transport.sent
