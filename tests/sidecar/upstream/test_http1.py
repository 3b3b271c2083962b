"""Conversations with an upstream, by hand: what it says, what the receiver hears, what becomes of the connection."""

from __future__ import annotations

import ssl
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.errors import TABLE
from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.upstream.endpoint import Attempt
from sidewinder_sidecar.upstream.http1 import MOST_INFORMATIONAL, Connection
from tests.support.examples import examples
from tests.support.http1 import Receiver, Up, request
from tests.support.transport import FakeTransport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nX-T: 1\r\n\r\n"
FOREVER = b"HTTP/1.1 200 OK\r\n\r\nhello"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
WHOLE = ["response 200", "data", "end"]

# data, told, pooled again
ANSWERS = {
    "known length": (OK, WHOLE, True),
    "chunked": (CHUNKS, WHOLE, True),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ["response 200"], True),
    "204": (EMPTY, ["response 204"], True),
    "close": (OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), WHOLE, False),
    "1.0": (OK.replace(b"1.1", b"1.0"), WHOLE, False),
    "hints": (HINTS + CONTINUE + OK, ["informational 103", "informational 100", *WHOLE], True),
    "two answers": (OK + OK, WHOLE, False),
    "two empty answers": (EMPTY + EMPTY, ["response 204"], False),
    "one byte too many": (OK + b"\n", WHOLE, False),
    "204 with a body": (b"HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\nhello", ["response 204"], False),
    "bytes after the last chunk": (CHUNKS + b"x", WHOLE, False),
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n\r\n", ["failure sent upstream_protocol"], False),
    "length and coding": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        ["failure sent upstream_protocol"], False,
    ),
    "broken chunk": (
        CHUNKS.replace(b"3\r\n", b"2\r\n"), ["response 200", "failure answering upstream_protocol"], False,
    ),
    "head too large": (
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 66000, ["failure sent response_headers_too_large"], False,
    ),
    "bare LF": (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", ["failure sent upstream_protocol"], False),
    "101 unasked": (SWITCH, ["failure sent upgrade_failed"], False),
    "1xx without end": (
        HINTS * 50, ["informational 103"] * MOST_INFORMATIONAL + ["failure sent upstream_protocol"], False,
    ),
}  # fmt: skip


def outcome(data: bytes, cuts: list[int]) -> tuple[list[str], bytes, bool, bool]:
    up = Up()
    _, receiver = up.open()
    borders = [0, *sorted(cuts), len(data)]
    up.hear(*(data[a:b] for a, b in pairwise(borders) if a < b))
    assert up.endpoint.active == (0 if receiver.over else 1)
    pooled = up.connection in up.endpoint.idle
    assert pooled is (not up.transport.closing and receiver.over)
    if receiver.failure:
        assert receiver.failure.error in TABLE
    told = [what for what in receiver.told if what != "data" or not receiver.failure]
    return told, b"" if receiver.failure else receiver.body, pooled, up.transport.closing


@pytest.mark.parametrize("case", ANSWERS)
def test_answers_do_not_depend_on_the_split(case: str) -> None:
    data, told, pooled = ANSWERS[case]
    whole = outcome(data, [])
    assert whole[0] == told
    assert whole[2] is pooled
    step = max(1, len(data) // 200)
    for cut in range(1, len(data), step):
        assert outcome(data, [cut])[:2] == whole[:2], cut
    if len(data) < 2000:
        assert outcome(data, list(range(1, len(data))))[:2] == whole[:2]


@examples(200)
@given(
    st.lists(st.sampled_from([OK, CHUNKS, FOREVER, EMPTY, HINTS, SWITCH, CONTINUE]), max_size=4),
    st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=3)), max_size=2),
    st.lists(st.integers(0, 400), max_size=6),
)
def test_any_bytes_in_any_split_are_one_answer(
    answers: list[bytes], noise: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    data = b"".join(answers)
    for at, more in noise:
        data = data[:at] + more + data[at:]
    assert outcome(data, [min(cut, len(data)) for cut in cuts])[:2] == outcome(data, [])[:2]


def test_the_body_by_another_s_judgement() -> None:
    up = Up()
    attempt, receiver = up.open(request(b"PUT", None))
    attempt.send_data(b"he")
    attempt.send_data(b"llo")
    attempt.send_end(fields((b"X-T", b"1")))
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(up.transport.sent)
    assert type(peer.next_event()) is h11.Request
    body = b""
    while type(event := peer.next_event()) is h11.Data:
        body += bytes(event.data)
    assert body == b"hello"
    assert list(event.headers) == [(b"x-t", b"1")]
    up.hear(OK)
    assert receiver.told == WHOLE


def test_a_request_and_its_first_piece_leave_in_one_write() -> None:
    up = Up()
    attempt, _ = up.open(request(b"PUT", 5))
    assert not up.transport.sent
    attempt.send_data(b"hello")
    attempt.send_end()
    assert up.transport.writes == 1
    assert up.transport.sent.endswith(b"\r\n\r\nhello")


def test_a_request_that_waits_to_continue_sends_its_head_at_once() -> None:
    asked = request(b"PUT", 5, (b"Expect", b"100-continue"))
    asked.expects_continue = True
    up = Up()
    attempt, receiver = up.open(asked)
    assert up.transport.sent.endswith(b"\r\n\r\n")
    up.hear(CONTINUE)
    attempt.send_data(b"hello")
    attempt.send_end()
    up.hear(OK)
    assert receiver.told == ["informational 100", *WHOLE]
    assert up.endpoint.idle == [up.connection]


def test_an_early_answer_costs_the_connection() -> None:
    up = Up()
    attempt, receiver = up.open(request(b"PUT", 5))
    attempt.send_data(b"he")
    up.hear(OK)
    assert receiver.told == WHOLE
    assert up.transport.closing
    attempt.send_data(b"llo")
    attempt.send_end()
    assert not up.endpoint.idle


def test_a_head_that_comes_alone_is_followed_by_nothing() -> None:
    up = Up()
    _, receiver = up.open()
    empty: list[bytes] = []
    receiver.on_data = empty.append  # type: ignore[method-assign]
    up.hear(OK[:-5])
    assert empty == [b""], "so that the caller gets the head"


@pytest.mark.parametrize("part", [b"", b"1", b"10\r", b"10\r\n"], ids=["nothing", "size", "line", "size line"])
def test_a_head_is_let_go_whatever_of_a_chunk_came_with_it(part: bytes) -> None:
    up = Up()
    _, receiver = up.open()
    empty: list[bytes] = []
    receiver.on_data = empty.append  # type: ignore[method-assign]
    up.hear(CHUNKS[: CHUNKS.index(b"2\r\nhe")] + part)
    assert empty == [b""]


@pytest.mark.parametrize(("used", "told"), [(0, "failure sent reset"), (1, "failure unsent reset_before_request")])
def test_a_connection_that_dies_before_the_answer(used: int, told: str) -> None:
    for error in (None, ConnectionResetError(104, "Connection reset by peer")):
        up = Up(used=used)
        attempt, receiver = up.open()
        if error is None:
            up.transport.hear_eof()
        else:
            up.transport.lose(error)
        assert receiver.told == [told]
        assert up.endpoint.active == 0
        attempt.cancel("late")
        attempt.send_data(b"late")
        assert up.endpoint.active == 0


@pytest.mark.parametrize("data", [OK[:10], HINTS], ids=["part of a head", "hints"])
def test_a_kept_connection_that_has_spoken_was_not_stale(data: bytes) -> None:
    up = Up(used=1)
    _, receiver = up.open()
    up.hear(data)
    up.transport.hear_eof()
    assert receiver.told[-1] == "failure sent reset"


CUT = {
    "known length": OK[:-1],
    "chunked": CHUNKS[:-2],
    "chunked, only the end": CHUNKS[: CHUNKS.index(b"0\r\nX-T")],
}


@pytest.mark.parametrize("case", CUT)
@pytest.mark.parametrize("error", [None, ConnectionResetError(104, "reset")], ids=["FIN", "RST"])
def test_a_cut_answer_is_never_told_as_complete(case: str, error: Exception | None) -> None:
    up = Up()
    _, receiver = up.open()
    up.hear(CUT[case])
    if error is None:
        up.transport.hear_eof()
    else:
        up.transport.lose(error)
    assert receiver.told == ["response 200", "data", "failure answering incomplete"]


def test_an_answer_until_close_ends_with_fin_alone() -> None:
    up = Up()
    _, receiver = up.open()
    up.hear(FOREVER)
    up.transport.hear_eof()
    assert receiver.told == WHOLE
    assert up.transport.lost
    up = Up()
    _, receiver = up.open()
    up.hear(FOREVER)
    up.transport.lose(ConnectionResetError(104, "reset"))
    assert receiver.told == ["response 200", "data", "failure answering incomplete"]


@pytest.mark.parametrize("at", ["informational", "response", "data"])
@pytest.mark.parametrize("data", [HINTS + OK, HINTS + CHUNKS, HINTS + FOREVER], ids=["length", "chunks", "close"])
def test_a_cancel_from_within_is_the_last_word(at: str, data: bytes) -> None:
    up = Up()
    attempt, receiver = up.open()
    receiver.on_each = lambda what: attempt.cancel("enough") if what == at else None
    up.hear(data[:-1], data[-1:])  # what comes whole with its head is over when it is told
    assert receiver.told[-1].split()[0] == at
    assert up.transport.aborted
    assert up.endpoint.active == 0
    up.hear(OK)
    assert receiver.told[-1].split()[0] == at


def test_a_cancelled_attempt_never_reaches_the_next_request() -> None:
    up = Up()
    first, _ = up.open()
    up.hear(OK)
    second, receiver = up.open(request(b"PUT", 5))
    first.send_data(b"evil!")
    first.send_end()
    first.pause()
    first.cancel("late")
    second.send_data(b"hello")
    second.send_end()
    up.hear(OK)
    assert receiver.told == WHOLE
    assert b"evil!" not in up.transport.sent


def test_pause_inside_the_last_piece_does_not_last() -> None:
    up = Up()
    attempt, receiver = up.open()
    receiver.on_each = lambda what: attempt.pause() if what == "data" else None
    up.hear(OK)
    assert receiver.told == WHOLE
    assert up.transport.reading
    assert up.endpoint.idle == [up.connection]


def test_the_upstream_s_pace_is_passed_on() -> None:
    up = Up(room=1000)
    attempt, receiver = up.open(request(b"PUT", None))
    assert not attempt.send_data(b"x" * 100000)
    up.transport.take()
    assert receiver.writable == 1
    attempt.pause()
    assert not up.transport.reading
    attempt.resume()
    assert up.transport.reading


def test_what_nobody_asked_for_closes_an_idle_connection() -> None:
    up = Up()
    up.hear(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert up.transport.lost
    assert not up.endpoint.idle


def test_an_idle_connection_is_closed_before_the_upstream_would() -> None:
    up = Up()
    _, _ = up.open()
    up.proxy.clock.advance(10)
    up.hear(OK)
    up.proxy.clock.advance(3.9)
    assert not up.transport.closing
    up.proxy.clock.advance(0.2)
    assert up.transport.closing
    assert not up.endpoint.idle
    up = Up()
    up.open()
    up.hear(OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=2\r\n\r\n"))
    up.proxy.clock.advance(4.1)
    assert up.transport.closing
    assert up.connection.idle_seconds == 1.0


def test_an_old_connection_takes_no_further_request() -> None:
    up = Up(Limits(upstream_age_seconds=100, upstream_idle_seconds=50))
    receiver = Receiver()
    connection = Connection(up.endpoint, Attempt(up.endpoint, request(), receiver, b"GET / HTTP/1.1\r\n\r\n"))
    up.endpoint.idle.clear()
    up.endpoint.active += 1
    transport = FakeTransport(connection)
    connection.connection_made(transport)
    for _ in range(4):
        up.proxy.clock.advance(20)
        connection.data_received(OK)
        assert up.endpoint.idle == [connection]
        up.open()
    up.proxy.clock.advance(40)  # it answers when it has grown old: that answer is whole, and the last
    assert not transport.closing
    connection.data_received(OK)
    assert transport.closing
    assert not up.endpoint.idle
    assert receiver.told == WHOLE


def test_one_that_rests_is_closed_when_it_grows_old() -> None:
    up = Up(Limits(upstream_age_seconds=10, upstream_idle_seconds=50))
    up.connection.ages_at = up.proxy.clock() + 10
    up.connection.wake(up.connection.ages_at)
    up.proxy.clock.advance(9.9)
    assert up.endpoint.idle == [up.connection]
    up.proxy.clock.advance(0.2)
    assert up.transport.closing
    assert not up.endpoint.idle


def tunnelled() -> tuple[Up, object, Receiver]:
    asked = request()
    asked.upgrade = b"websocket"
    up = Up()
    attempt, receiver = up.open(asked)
    up.hear(SWITCH + b"first")
    assert receiver.told == ["tunnel", "data"]
    return up, attempt, receiver


def test_a_tunnel_ends_each_way_by_itself() -> None:
    up, attempt, receiver = tunnelled()
    attempt.send_data(b"ping")
    assert up.transport.sent.endswith(b"\r\n\r\nping")
    attempt.send_end()
    assert up.transport.eof
    up.hear(b"pong")
    assert receiver.body == b"firstpong"
    up.transport.hear_eof()
    assert receiver.told[-1] == "end"
    assert up.transport.lost
    assert up.endpoint.active == 0


def test_a_tunnel_that_the_upstream_ends_first() -> None:
    up, attempt, receiver = tunnelled()
    up.transport.hear_eof()
    assert receiver.told[-1] == "end"
    attempt.send_data(b"ping")
    assert up.transport.sent.endswith(b"ping")
    attempt.send_end()
    assert up.transport.closing
    assert up.endpoint.active == 0


def test_a_tunnel_to_another_protocol_is_none() -> None:
    asked = request()
    asked.upgrade = b"websocket"
    up = Up()
    _, receiver = up.open(asked)
    up.hear(SWITCH.replace(b"websocket", b"telnet"))
    assert receiver.told == ["failure sent upgrade_failed"]


def test_a_refused_upgrade_is_an_ordinary_answer() -> None:
    asked = request()
    asked.upgrade = b"websocket"
    up = Up()
    _, receiver = up.open(asked)
    up.hear(OK)
    assert receiver.told == WHOLE
    assert up.endpoint.idle == [up.connection]
    assert repr(up.connection) == "<Connection 192.0.2.1:80 idle 1 used>"


@pytest.mark.parametrize(
    ("reason", "used", "early", "told"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", 0, False, "failure connect tls_failed"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", 1, False, "failure unsent reset_before_request"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", 0, True, "failure connect tls_failed"),
        ("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", 0, False, "failure sent reset"),
        ("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", 0, True, "failure unsent reset_before_request"),
    ],
    ids=["its first word", "a kept connection", "the first word on one made early", "noise on the way", "an early one"],
)
def test_a_certificate_that_is_refused_was_no_request(reason, used, early, told) -> None:
    up = Up()
    up.connection.used = used
    up.connection.early = early
    _, receiver = up.open()
    error = ssl.SSLError(1, "x")
    error.reason = reason
    up.transport.lose(error)
    assert receiver.told == [told]
