"""What is an answer's head and where its body ends; everything doubtful is refused."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.errors import TABLE, UpstreamError
from sidewinder_sidecar.http1 import encode, response_head
from sidewinder_sidecar.http1.lines import CHUNKED, CLOSE, LENGTH, NONE, Seen
from sidewinder_sidecar.messages import Response
from sidewinder_sidecar.settings import Limits
from tests.support.http1 import Up, request

LIMITS = Limits()


def head(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join((first, *lines)) + b"\r\n\r\n"


def parse(data: bytes, method: bytes = b"GET", limits: Limits = LIMITS) -> tuple[Response, bool, int]:
    return response_head.parse(data, method, limits, Seen())


REFUSED = {
    "length and coding": head(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "length twice": head(b"Content-Length: 5", b"Content-Length: 5"),
    "lengths that differ": head(b"Content-Length: 5", b"Content-Length: 6"),
    "length list": head(b"Content-Length: 5,5"),
    "length plus": head(b"Content-Length: +5"),
    "length empty": head(b"Content-Length:"),
    "length huge": head(b"Content-Length: " + b"9" * 30),
    "coding gzip": head(b"Transfer-Encoding: gzip"),
    "coding gzip, chunked": head(b"Transfer-Encoding: gzip, chunked"),
    "coding identity": head(b"Transfer-Encoding: identity"),
    "coding twice": head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "coding on HTTP/1.0": head(b"Transfer-Encoding: chunked", first=b"HTTP/1.0 200 OK"),
    "bare LF": b"HTTP/1.1 200 OK\nX: a\r\n\r\n",
    "bare LF between fields": head(b"X: a\nY: b"),
    "bare CR": head(b"X: a\rY: b"),
    "NUL in a value": head(b"X: \x00"),
    "NUL in the reason": head(first=b"HTTP/1.1 200 a\x00b"),
    "space before the colon": head(b"X : a"),
    "folded": head(b"X: a", b" b"),
    "no colon": head(b"X"),
    "HTTP/2.0": head(first=b"HTTP/2.0 200 OK"),
    "HTTP/1.2": head(first=b"HTTP/1.2 200 OK"),
    "HTTP/0.9": b"<html>\r\n\r\n",
    "ICY": head(first=b"ICY 200 OK"),
    "status of two digits": head(first=b"HTTP/1.1 20 OK"),
    "status of four digits": head(first=b"HTTP/1.1 2000 OK"),
    "status 099": head(first=b"HTTP/1.1 099 OK"),
    "status 600": head(first=b"HTTP/1.1 600 OK"),
    "no space after the status": head(first=b"HTTP/1.1 200OK"),
    "two spaces": head(first=b"HTTP/1.1  200 OK"),
    "empty line first": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("case", REFUSED)
def test_ambiguous_answers_are_refused(case: str) -> None:
    data = REFUSED[case]
    with pytest.raises(UpstreamError) as refused:
        parse(data)
    assert refused.value.error == "upstream_protocol"
    for cut in range(1, len(data)):
        assert response_head.fault(data[:cut], LIMITS) in (None, (refused.value.error, refused.value.detail))
    assert [row[1:] for row in parse(head(b"X: y"))[0].fields] == [(b"X", b"y")], "the next head is read afresh"


@pytest.mark.parametrize(
    "data", [head(b"X: " + b"a" * 70000), head(*[b"X: a"] * 101)], ids=["too large", "too many fields"]
)
def test_limits(data: bytes) -> None:
    with pytest.raises(UpstreamError) as refused:
        parse(data)
    assert refused.value.error == "response_headers_too_large"
    assert refused.value.error in TABLE


ENDINGS = {
    "length": (head(b"Content-Length: 5"), b"GET", LENGTH, 5, True),
    "length zero": (head(b"Content-Length: 0"), b"GET", LENGTH, 0, True),
    "leading zeros": (head(b"Content-Length: 05"), b"GET", LENGTH, 5, True),
    "chunked": (head(b"Transfer-Encoding: chunked"), b"GET", CHUNKED, None, True),
    "until close": (head(), b"GET", CLOSE, None, False),
    "until close on 1.0": (head(first=b"HTTP/1.0 200 OK"), b"GET", CLOSE, None, False),
    "close": (head(b"Content-Length: 5", b"Connection: close"), b"GET", LENGTH, 5, False),
    "1.0 closes": (head(b"Content-Length: 5", first=b"HTTP/1.0 200 OK"), b"GET", LENGTH, 5, False),
    "1.0 keeps": (
        head(b"Content-Length: 5", b"Connection: keep-alive", first=b"HTTP/1.0 200 OK"), b"GET", LENGTH, 5, True,
    ),
    "HEAD with a length": (head(b"Content-Length: 5"), b"HEAD", NONE, 5, True),
    "HEAD chunked": (head(b"Transfer-Encoding: chunked"), b"HEAD", NONE, None, True),
    "HEAD with neither": (head(), b"HEAD", NONE, None, True),
    "204": (head(first=b"HTTP/1.1 204 No Content"), b"GET", NONE, None, True),
    "204 with a length": (head(b"Content-Length: 5", first=b"HTTP/1.1 204 x"), b"GET", NONE, 5, True),
    "304 with a length": (head(b"Content-Length: 5", first=b"HTTP/1.1 304 x"), b"GET", NONE, 5, True),
    "100": (head(first=b"HTTP/1.1 100 Continue"), b"GET", NONE, None, True),
    "no reason": (head(b"Content-Length: 0", first=b"HTTP/1.1 200 "), b"GET", LENGTH, 0, True),
    "no reason and no space": (head(b"Content-Length: 0", first=b"HTTP/1.1 200"), b"GET", LENGTH, 0, True),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDINGS)
def test_where_the_body_ends(case: str) -> None:
    data, method, ending, length, keep = ENDINGS[case]
    answer, kept, found = parse(data, method)
    assert (found, answer.length, kept) == (ending, length, keep)
    assert not {b"connection", b"transfer-encoding"} & set(answer.fields.index)


def test_hop_by_hop_fields_are_gone_and_the_rest_is_forwarded_as_it_came() -> None:
    answer, _, _ = parse(head(b"Server: x", b"Connection: keep-alive", b"Keep-Alive: timeout=5", b"Content-Length: 2"))
    assert encode.response_head(answer, None, request(), True)[0] == head(b"Server: x", b"Content-Length: 2")


def test_what_a_101_and_keep_alive_say() -> None:
    assert response_head.upgraded(head(b"Connection: upgrade", b"Upgrade: WebSocket ")) == b"websocket"
    assert response_head.upgraded(head(b"Connection: upgrade")) == b""
    assert response_head.upgraded(head(b"Upgrade: a", b"Upgrade: b")) == b""
    assert response_head.keep_alive_seconds(head(b"Keep-Alive: max=9, timeout=5")) == 5.0
    assert response_head.keep_alive_seconds(head(b"X-Keep-Alive: timeout=5")) is None


NAMES = st.sampled_from([b"Set-Cookie", b"X-A", b"x-a", b"Connection", b"Keep-Alive", b"Trailer", b"Content-Type"])
VALUES = st.sampled_from([b"", b"a", b"a b", b"close", b"keep-alive", b"x-a", b"\xe9", b"a\tb"])
FRAMINGS = st.sampled_from(
    [b"", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"content-length:  003 \r\n"]
)


@given(
    st.lists(st.tuples(NAMES, st.sampled_from([b":", b": ", b": \t"]), VALUES), max_size=6),
    FRAMINGS,
    st.sampled_from([200, 204, 304, 404]),
    st.sampled_from([b"GET", b"HEAD"]),
    st.booleans(),
)
def test_what_leaves_is_what_came_in_by_another_s_judgement(
    lines: list[tuple[bytes, bytes, bytes]], framing: bytes, status: int, method: bytes, edited: bool
) -> None:
    data = b"HTTP/1.1 %d x\r\n%b%b\r\n" % (status, framing, b"".join(b"".join(line) + b"\r\n" for line in lines))
    answer, _, ending = parse(data, method)
    if edited:
        answer.fields.set(b"x-a", b"X-A", b"new")
    length = answer.length
    sent, told = encode.response_head(answer, None, request(method), True)
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    peer.receive_data(sent)
    event = peer.next_event()
    assert type(event) is h11.Response
    assert event.status_code == status
    ours = (b"connection", b"transfer-encoding", b"content-length")
    raw = list(event.headers.raw_items())
    expected = [(name, value) for _, name, value in answer.fields if name.lower() not in ours]
    assert [row for row in raw if row[0].lower() not in ours] == expected
    framing_sent = {name.lower(): value for name, value in raw if name.lower() in ours[1:]}
    if told == LENGTH:
        assert framing_sent == {b"content-length": b"%d" % length}
    elif told == CHUNKED:
        assert framing_sent == {b"transfer-encoding": b"chunked"}
        assert ending in (CHUNKED, CLOSE)
    else:
        assert b"transfer-encoding" not in framing_sent


def told(data: bytes, method: bytes, seen: Seen) -> object:
    """All that a head means, or why it means nothing; edited as filters do, which must leave no trace."""
    try:
        answer, keep, ending = response_head.parse(data, method, LIMITS, seen)
    except UpstreamError as fault:
        return fault.error, fault.detail
    fields = answer.fields
    found = (answer.status, answer.length, answer.reason, answer.close, keep, ending, list(fields), dict(fields.index))
    sent = encode.response_head(answer, None, request(method), True)
    fields.set(b"content-length", b"Content-Length", b"1")
    fields.add(b"x", b"X", b"1")
    return found, sent


def test_what_the_connection_sent_before_changes_nothing() -> None:
    heads = [*REFUSED.values(), *(case[0] for case in ENDINGS.values())]
    for data in heads:
        for method in (b"GET", b"HEAD"):
            fresh = told(data, method, Seen())
            for before in heads:
                for asked in (b"GET", b"HEAD"):
                    seen = Seen()
                    told(before, asked, seen)
                    assert told(data, method, seen) == fresh
                    assert told(data, method, seen) == fresh


def test_what_one_connection_was_sent_another_knows() -> None:
    """With a thousand endpoints each connection is asked a few times a second, and each second has another Date."""
    head = b"HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 23:51:07 GMT\r\nContent-Length: 3\r\n\r\n"
    one, other = response_head.recall(head, Seen()), response_head.recall(head, Seen())
    assert one is other
    fresh = told(head, b"GET", one)
    assert one.block == head
    assert told(head, b"GET", other) == told(head, b"GET", Seen()) == fresh
    assert response_head.recall(head.replace(b":07", b":08"), one) is not one
    assert one.block == head  # another head never overwrites what connections share


def test_the_head_that_came_last_is_known_to_every_connection() -> None:
    """Of a thousand connections each is asked seldom: the next head is the last one's, not its own last one."""
    one, other = Up(), Up()
    tick = b"HTTP/1.1 200 Tick\r\nContent-Length: 5\r\n\r\nhello"
    for up in (one, other, one, other):
        _, receiver = up.open()
        up.hear(tick)
        assert receiver.told == ["response 200", "data", "end"]
    assert other.connection.seen.block == b"", "what others have brought is not looked up again"
    empty = b"HTTP/1.1 204 No Content\r\n\r\n"
    for method, data, told in ((b"HEAD", tick[:-5], 200), (b"GET", empty, 204), (b"HEAD", tick[:-5], 200)):
        for up in (one, other):
            _, receiver = up.open(request(method))
            up.hear(data)
            assert receiver.told == [f"response {told}"]
            assert up.connection in up.endpoint.idle


def test_what_is_recalled_is_bounded() -> None:
    small = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % number for number in range(1000)]
    for head in small:
        response_head.recall(head, Seen())
    assert len(response_head._recent) <= 64
    mine = Seen()
    assert response_head.recall(b"x" * 5000, mine) is mine  # a large one is nobody else's business


def test_a_shared_head_means_to_each_method_what_it_means() -> None:
    for data in (*REFUSED.values(), *(case[0] for case in ENDINGS.values())):
        for method in (b"GET", b"HEAD", b"GET"):
            assert told(data, method, response_head.recall(data, Seen())) == told(data, method, Seen())
