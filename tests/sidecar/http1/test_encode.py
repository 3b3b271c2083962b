"""What leaves: framing from the length alone, and nothing that would end a line early."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.http1 import encode
from sidewinder_sidecar.http1.encode import Unsendable
from sidewinder_sidecar.http1.lines import CHUNKED, CLOSE, LENGTH, NONE
from sidewinder_sidecar.messages import Request, Response
from tests.support.http1 import request


def response(*pairs: tuple[bytes, bytes], status: int = 200, length: int | None = None) -> Response:
    return Response(status, fields(*pairs), length)


REQUESTS = {
    "GET": (request(), b"GET / HTTP/1.1\r\nHost: upstream\r\n\r\n"),
    "POST without a body": (request(b"POST"), b"POST / HTTP/1.1\r\nHost: upstream\r\nContent-Length: 0\r\n\r\n"),
    "known length": (request(b"PUT", 5), b"PUT / HTTP/1.1\r\nHost: upstream\r\nContent-Length: 5\r\n\r\n"),
    "chunked": (request(b"PUT", None), b"PUT / HTTP/1.1\r\nHost: upstream\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "length told twice": (
        request(b"PUT", 5, (b"content-length", b"5"), (b"content-length", b"5")),
        b"PUT / HTTP/1.1\r\nHost: upstream\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n",
    ),
    "length told wrong": (
        request(b"PUT", 5, (b"Content-Length", b"7")),
        b"PUT / HTTP/1.1\r\nHost: upstream\r\nContent-Length: 5\r\n\r\n",
    ),
    "length told for chunked": (
        request(b"PUT", None, (b"Content-Length", b"7")),
        b"PUT / HTTP/1.1\r\nHost: upstream\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    "framing and hop-by-hop set by somebody": (
        request(b"GET", 0, (b"Transfer-Encoding", b"x"), (b"Connection", b"a"), (b"Upgrade", b"b"), (b"A", b"1")),
        b"GET / HTTP/1.1\r\nHost: upstream\r\nA: 1\r\n\r\n",
    ),
}


@pytest.mark.parametrize("case", [case for case in REQUESTS if case != "length told twice"])
def test_requests(case: str) -> None:
    made, expected = REQUESTS[case]
    assert encode.request_head(made) == expected
    assert encode.request_head(made) == expected, "a retry says the same"


def test_a_length_that_is_there_twice_leaves_once() -> None:
    made = request(b"PUT", 5, (b"Content-Length", b"5"))
    made.fields.add(b"content-length", b"Content-Length", b"7")
    assert encode.request_head(made).count(b"ontent-") == 1
    assert b"Content-Length: 5\r\n" in encode.request_head(made)


def test_a_host_is_made_where_there_is_none() -> None:
    made = Request(b"GET", b"/", b"a:81", fields(), 0)
    assert encode.request_head(made) == b"GET / HTTP/1.1\r\nHost: a:81\r\n\r\n"


def test_an_upgrade_is_asked_for_anew() -> None:
    made = request()
    made.upgrade = b"websocket"
    assert encode.request_head(made).endswith(b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")


@pytest.mark.parametrize("value", [b"a\r\nX: b", b"a\nb", b"a\rb", b"a\x00", b"\x7f", b"\r\n"])
def test_no_value_ends_its_line(value: bytes) -> None:
    made = request()
    made.fields.set(b"x", b"X", value)
    with pytest.raises(Unsendable, match="control byte"):
        encode.request_head(made)
    with pytest.raises(Unsendable, match="control byte"):
        encode.response_head(response((b"Location", value)), b"", made, True)


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"\xe9"])
def test_no_name_is_something_else(name: bytes) -> None:
    made = request()
    made.fields.add(name, name, b"1")
    with pytest.raises(Unsendable, match="no field name"):
        encode.request_head(made)


@pytest.mark.parametrize("target", [b"", b"/a b", b"/\r\n", b"/\x00", "/é".encode()])
def test_no_target_is_something_else(target: bytes) -> None:
    made = request()
    made.target = target
    with pytest.raises(Unsendable, match="target"):
        encode.request_head(made)


def old(minor: int, method: bytes = b"GET") -> Request:
    made = request(method)
    made.minor = minor
    return made


ANSWERS = {
    "known length": (response(length=5), False, old(1), True, b"Content-Length: 5\r\n", LENGTH),
    "chunked": (response(), False, old(1), True, b"Transfer-Encoding: chunked\r\n", CHUNKED),
    "closing": (response(length=5), False, old(1), False, b"Content-Length: 5\r\nConnection: close\r\n", LENGTH),
    "1.0 keeps": (response(length=5), False, old(0), True, b"Content-Length: 5\r\nConnection: keep-alive\r\n", LENGTH),
    "1.0 until close": (response(), False, old(0), True, b"Connection: close\r\n", CLOSE),
    "ended": (response(), True, old(1), True, b"Content-Length: 0\r\n", LENGTH),
    "ended against its length": (
        response((b"content-length", b"5"), length=5), True, old(1), True, b"Content-Length: 0\r\n", LENGTH,
    ),
    "HEAD": (
        response((b"content-length", b"5"), length=5), True, old(1, b"HEAD"), True, b"content-length: 5\r\n", NONE,
    ),
    "HEAD of unknown length": (response(), True, old(1, b"HEAD"), True, b"", NONE),
    "204": (response((b"content-length", b"0"), status=204), True, old(1), True, b"", NONE),
    "304": (
        response((b"content-length", b"9"), status=304, length=9), True, old(1), True, b"content-length: 9\r\n", NONE,
    ),
    "304 with nonsense": (response((b"content-length", b"x"), status=304), True, old(1), True, b"", NONE),
    "no request": (response(length=1), False, None, False, b"Content-Length: 1\r\nConnection: close\r\n", LENGTH),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
def test_answers(case: str) -> None:
    made, ended, asked, keep, lines, ending = ANSWERS[case]
    first = {204: b"204 No Content", 304: b"304 Not Modified"}.get(made.status, b"200 OK")
    assert encode.response_head(made, b"" if ended else None, asked, keep) == (
        b"HTTP/1.1 " + first + b"\r\n" + lines + b"\r\n",
        ending,
    )


def test_reasons_and_unknown_statuses() -> None:
    made = Response(299, fields(), 0, b"Fine \xe9")
    assert encode.response_head(made, b"", None, True)[0].startswith(b"HTTP/1.1 299 Fine \xe9\r\n")
    with pytest.raises(Unsendable):
        encode.response_head(Response(200, fields(), 0, b"a\r\nb"), b"", None, True)
    with pytest.raises(Unsendable):
        encode.response_head(Response(20, fields(), 0), b"", None, True)


def test_chunks_and_trailers() -> None:
    assert encode.chunk(b"hello") == b"5\r\nhello\r\n"
    assert encode.last_chunk(None) == b"0\r\n\r\n"
    assert encode.last_chunk(fields((b"X-A", b"1"))) == b"0\r\nX-A: 1\r\n\r\n"


def test_tunnels_and_informational() -> None:
    asked = request()
    asked.upgrade = b"websocket"
    switched = encode.tunnel_head(response((b"Sec-WebSocket-Accept", b"x"), status=101), asked)
    assert switched == (
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n"
        b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    asked.upgrade = b"connect"
    assert encode.tunnel_head(response((b"content-length", b"5")), asked) == b"HTTP/1.1 200 OK\r\n\r\n"
    hints = response((b"Link", b"</a>"), status=103)
    assert encode.informational(hints) == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
