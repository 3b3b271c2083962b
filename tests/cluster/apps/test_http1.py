"""The codec of the test applications: what it reads, what it refuses, what it writes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.cluster.apps import http1

Read = Callable[[asyncio.StreamReader], Awaitable[http1.Message]]


def read(data: bytes, how: Read = http1.read_request) -> http1.Message:
    """What is read of these bytes and the end of the connection after them."""

    async def feed() -> http1.Message:
        reader = asyncio.StreamReader(limit=http1.HEAD_LIMIT)
        reader.feed_data(data)
        reader.feed_eof()
        return await how(reader)

    return asyncio.run(feed())


def test_headers_keep_order_case_and_repetition() -> None:
    message = read(b"GET /a?b HTTP/1.1\r\nHost: x\r\nX-Two: 1\r\nx-two:  2 \r\n\r\n")
    assert message.start == ("GET", "/a?b", "HTTP/1.1")
    assert message.headers == [("Host", "x"), ("X-Two", "1"), ("x-two", "2")]
    assert message.header("X-TWO") == "1"


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("Content-Length: 5\r\n\r\nhello", b"hello"),
        ("Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: t\r\n\r\n", b"hello"),
        ("Content-Length: 0\r\n\r\n", b""),
        ("\r\n", b""),
    ],
    ids=["length", "chunked", "empty", "none"],
)
def test_a_body_is_read_as_it_is_framed(framing: str, body: bytes) -> None:
    assert read(f"POST / HTTP/1.1\r\n{framing}".encode()).body == body


@pytest.mark.parametrize(
    "data",
    [
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nspace : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhell",
        b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x",
        b"GET / HTTP/1.1\r\nX: " + b"x" * http1.HEAD_LIMIT + b"\r\n\r\n",
    ],
    ids=["start", "colon", "space", "short", "negative", "size", "chunk", "cut", "long"],
)
def test_damage_is_named(data: bytes) -> None:
    with pytest.raises(http1.Damaged):
        read(data)


def test_the_end_between_messages_is_no_damage() -> None:
    with pytest.raises(http1.Ended):
        read(b"")


@pytest.mark.parametrize(
    ("data", "method", "status", "body"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "GET", "200", b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "HEAD", "200", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", "204", b""),
        (b"HTTP/1.1 200\r\n\r\nuntil the end", "GET", "200", b"until the end"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\nframes", "GET", "101", b""),
    ],
    ids=["interim", "head", "no content", "until close", "upgrade"],
)
def test_responses(data: bytes, method: str, status: str, body: bytes) -> None:
    message = read(data, lambda reader: http1.read_response(reader, method))
    assert (message.start[1], message.body) == (status, body)


def test_what_is_written_is_read() -> None:
    def same(reader: asyncio.StreamReader) -> Any:
        return http1.read_response(reader)

    message = read(http1.response(418, b"tea", ("X-A", "b")), same)
    assert message.start == ("HTTP/1.1", "418", "I'm a Teapot")
    assert (message.header("x-a"), message.body) == ("b", b"tea")


@pytest.mark.parametrize(
    ("head", "open_"),
    [(b"GET / HTTP/1.1", True), (b"GET / HTTP/1.0", False), (b"GET / HTTP/1.1\r\nConnection: Close", False)],
)
def test_how_long_a_connection_stays(head: bytes, open_: bool) -> None:
    assert http1.parse_head(head).stays_open() is open_
