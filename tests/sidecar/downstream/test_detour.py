"""Callers that are slow, half-closed, gone or one too many; tunnels, interim answers, cut ones, the caller's pace."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import Response
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.wire import jittered
from tests.sidecar.downstream.test_http1 import ASKING, BAD, EXPECT, GET, OLD, POST, began, looped
from tests.support.http1 import Down, Echo, run, turns


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
async def test_an_old_connection_ends_with_its_next_answer() -> None:
    down = Down(Echo, limits=Limits(connection_age_seconds=30))
    for _ in range(26):
        await down.say(GET)
        down.proxy.clock.advance(1)
    assert b"Connection: close" not in down.transport.sent
    down.proxy.clock.advance(8)
    assert not down.transport.ended, "nobody sends into a connection that we are closing"
    await down.say(GET)
    assert b"Connection: close" in down.transport.sent
    assert down.transport.ended
    assert down.statuses() == [200] * 27


@pytest.mark.parametrize("cut", [10, 70], ids=["in its head", "in its body"])
def test_one_whose_requests_come_in_pieces_grows_old_too(cut: int) -> None:
    """Each piece is waited for, up to a minute: that must not put off the age for ever."""

    async def main() -> None:
        down = Down(Echo, limits=Limits(connection_age_seconds=30))
        request = b"POST /orders HTTP/1.1\r\nHost: reviews\r\nContent-Length: 30\r\n\r\n" + b"x" * 30
        for _ in range(34):
            await down.say(request[:cut], request[cut:])
            down.proxy.clock.advance(1)
            if down.transport.ended:
                break
        assert b"Connection: close" in down.transport.sent
        assert 27 <= len(down.statuses()) <= 34

    run(main)


@looped
async def test_an_old_connection_on_which_nothing_is_asked_idles_out() -> None:
    down = Down(Echo, limits=Limits(connection_age_seconds=30))
    await down.say(GET)
    down.proxy.clock.advance(74)
    assert not down.transport.ended
    down.proxy.clock.advance(2)
    assert down.transport.ended
    assert down.statuses() == [200]


@looped
async def test_an_answer_that_runs_when_its_connection_grows_old_is_finished() -> None:
    down = Down(limits=Limits(connection_age_seconds=30))
    await down.say(GET)
    down.proxy.clock.advance(40)
    down.exchange.answer(200, b"late")
    assert b"Connection: close" in down.transport.sent
    assert down.statuses() == [200]


def test_connections_do_not_grow_old_together() -> None:
    ages = [jittered(100.0) for _ in range(1000)]
    assert 90 <= min(ages) < 91
    assert 109 < max(ages) <= 110


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


INFORMED = {
    "103": (GET, 103, True),
    "103 to 1.0": (OLD, 103, False),
    "100 to who waits": (EXPECT, 100, True),
    "100 to who does not": (ASKING, 100, False),
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


@pytest.mark.parametrize("asked", [GET, OLD], ids=["chunked", "until close"])
def test_a_cut_answer_never_looks_complete(asked: bytes) -> None:
    down = began(asked)
    down.connection.send_head(Response(200, fields()), None)
    down.connection.send_data(b"he")
    down.connection.reset("incomplete")
    assert down.transport.aborted
    assert not down.transport.sent.endswith(b"0\r\n\r\n")
    assert down.connection.serving is None
    down.transport.lose()
    assert not down.exchange.gone, "it knows"


def test_the_caller_s_pace_is_passed_on() -> None:
    async def main() -> None:
        down = Down(room=1000)
        await down.say(GET)
        down.connection.send_head(Response(200, fields()), None)
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
    connection.send_head(Response(200, fields(), 5), None)
    connection.send_data(b"hello")
    connection.send_end()
    connection.pause()
    connection.resume()
    connection.reset("x")
    assert not down.transport.sent
