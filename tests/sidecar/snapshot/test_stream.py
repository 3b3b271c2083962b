"""Every message of the stream goes over a line and back; what is none says why."""

from __future__ import annotations

import msgspec
import pytest

from sidewinder_sidecar.snapshot import stream

TO_CLIENT = [
    stream.Begin(1, "state"),
    stream.Set("route/a", "v1", msgspec.Raw(b'{"name":"a","rules":[]}'), ("uid", 3)),
    stream.Set("route/a", "v1", msgspec.Raw(b"{}")),
    stream.Drop("route/a"),
    stream.Commit(1),
    stream.Unknown(("10.0.0.1:80", "[fd00::1]:80", "reviews.shop"), 30.0),
    stream.Retired(1),
    stream.Ping(1),
    stream.Pong(1),
    stream.Goodbye("restart", 500),
]
TO_SERVER = [
    stream.Greeting(stream.Hello(capabilities=("a",), build="1", epoch=2, has={"route/a": "v1"}, state="s")),
    stream.Want(("service/a",)),
    stream.Ack(1, "s"),
    stream.Nack(nack=1, state="s", resource="route/a", field="rules", why="because"),
    stream.Seen({"v1": (stream.Ejected(endpoint="10.0.0.1:80", state="open", since=1.0, until=2.0),)}),
    stream.Released(1),
    stream.Trusts(("0123456789abcdef",), renewed=True),
    stream.Stale(("keys/idp",)),
    stream.Resigned(resigned=2.5),
    stream.Drained(drained=0.5, leaving=2.0, retired=1.0, requests=3, upgraded=1, cut_requests=1),
    stream.Health({"shop/web:80 u 10.0.0.1 8080": False, "shop/web:80 v 10.0.0.2 8080": None}),
    stream.Ping(1),
    stream.Pong(1),
]
BAD = [
    b"",
    b"\n",
    b"[]",
    b"{}",
    b"null",
    b'{"what":1}',
    b'{"ping":"x"}',
    b'{"ping":1,"extra":2}',
    b"\xff\xfe",
    b'{"ping":',
    b'{"ping":' + b"[" * 100_000,
]


@pytest.mark.parametrize(
    ("read", "message"),
    [
        *[(stream.to_client, message) for message in TO_CLIENT],
        *[(stream.to_server, message) for message in TO_SERVER],
    ],
    ids=lambda one: type(one).__name__,
)
def test_there_and_back(read, message):
    line = stream.encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert read(line) == message


@pytest.mark.parametrize("line", BAD)
@pytest.mark.parametrize("read", [stream.to_client, stream.to_server])
def test_what_is_no_message_says_why(read, line):
    with pytest.raises(stream.Malformed, match=r"\w{4}"):
        read(line)


def test_directions_are_not_mixed():
    with pytest.raises(stream.Malformed):
        stream.to_server(stream.encode(TO_CLIENT[0]))
    with pytest.raises(stream.Malformed):
        stream.to_client(stream.encode(TO_SERVER[2]))
