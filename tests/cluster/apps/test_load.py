"""The load client against the echo and against servers that misbehave, each in its own way."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.apps import echo, http1, load
from tests.cluster.apps.tally import Tally
from tests.cluster.support.background import serving

ECHO = echo.Echo(echo.Self("pod-1", "", "", "", "v1"))


def send(connection: http1.Connection, path: str = "/", **job: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The summary and the failures of a run against this server."""
    lines: list[str] = []
    with serving(connection) as port:
        wanted = load.Job(f"http://127.0.0.1:{port}{path}", **job)
        summary: dict[str, Any] = asyncio.run(load.run(wanted, Tally(lines.append)))
    return summary, [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    "job",
    [{}, {"reuse": False}, {"method": "POST", "body_bytes": 70_000}, {"method": "HEAD"}, {"rate": 500}],
    ids=["kept", "fresh", "bodies", "head", "paced"],
)
def test_every_right_answer_passes(job: dict[str, Any]) -> None:
    summary, failures = send(ECHO, requests=60, **job)
    assert (summary["requests"], summary["failures"], failures) == (60, 0, [])
    assert summary["status"] == {"200": 60}
    if job.get("method") != "HEAD":
        assert summary["versions"] == {"v1": 60}


def test_a_rate_is_kept() -> None:
    summary, _ = send(ECHO, requests=30, rate=100)
    assert summary["seconds"] >= 0.29


def test_patience_ends_with_the_first_connection_or_when_it_is_used_up() -> None:
    summary, _ = send(ECHO, requests=1, patience=5)
    assert (summary["failures"], summary["waited"] < 5) == (0, True)
    with serving(ECHO) as port:
        pass
    lines: list[str] = []
    job = load.Job(f"http://127.0.0.1:{port}/", requests=1, patience=0.2)
    assert float(str(asyncio.run(load.run(job, Tally(lines.append)))["waited"])) >= 0.2
    assert len(lines) == 1


def foreign(request: http1.Message) -> bytes:
    """An answer that belongs to another request."""
    return told(request, headers=[[load.NUMBER, "999"]])


def told(request: http1.Message, **other: Any) -> bytes:
    """An echo's answer, with something else in it."""
    right = {"headers": request.headers, "body_bytes": len(request.body), "body_crc32": zlib.crc32(request.body)}
    return http1.json_response(200, right | other)


def swapped(request: http1.Message) -> bytes:
    """As long as it was, and another request's."""
    return told(request, body_crc32=zlib.crc32(b"9 9"))


def altered(request: http1.Message) -> bytes:
    """One byte of an echo's answer, where no number is."""
    sent = json.loads(told(request).partition(b"\r\n\r\n")[2]) | {"pod": "pod-1"}
    body = json.dumps(sent).encode()
    return http1.response(200, body.replace(b"pod-1", b"pod-2"), (echo.WHOLE, str(zlib.crc32(body))))


def damaged(request: http1.Message) -> bytes:
    return told(request, body_bytes=len(request.body) - 1)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (lambda request: http1.response(503, b"away"), "status 503"),
        (lambda request: http1.response(200, b"hello"), "no echo"),
        (foreign, "foreign answer"),
        (damaged, "body damaged"),
        (swapped, "body damaged"),
        (altered, "answer damaged"),
        (lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nbad header\r\n\r\n", "Damaged"),
    ],
    ids=["status", "text", "foreign", "body", "another's-body", "a-byte", "bytes"],
)
def test_every_wrong_answer_is_told(answer: Callable[[http1.Message], bytes], failure: str) -> None:
    summary, failures = send(http1.answering(answer), requests=5, concurrency=1, method="POST", body_bytes=3)
    assert (summary["requests"], summary["failures"]) == (5, 5)
    assert [line["failure"] for line in failures] == [failure] * 5
    assert sorted(line["request"] for line in failures) == [0, 1, 2, 3, 4]


def test_a_server_that_is_silent_or_away_is_a_failure() -> None:
    _, (failure,) = send(ECHO, "/?delay=5", requests=1, timeout=0.1)
    assert failure["failure"] == "timeout"
    with serving(ECHO) as port:
        pass
    lines: list[str] = []
    asyncio.run(load.run(load.Job(f"http://127.0.0.1:{port}/", requests=1), Tally(lines.append)))
    assert json.loads(lines[0])["failure"] == "ConnectionRefusedError"


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An echo, as a server that closes the connection behind its answer without saying so."""
    writer.write(told(await http1.read_request(reader)))
    await writer.drain()
    writer.close()


@pytest.mark.parametrize(("method", "failing"), [("GET", False), ("POST", True)])
def test_only_an_idempotent_request_is_sent_again_and_only_on_a_stale_connection(method: str, failing: bool) -> None:
    summary, _ = send(closing, requests=6, concurrency=1, method=method)
    assert bool(summary["failures"]) is failing
    assert bool(summary["stale"]) is not failing


def test_dropped_requests_are_never_sent_again() -> None:
    summary, _ = send(ECHO, "/?drop=1", requests=4, concurrency=1)
    assert (summary["failures"], summary["stale"]) == (4, 0)


def test_it_stops_when_told_to() -> None:
    async def stopped() -> dict[str, object]:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, stop.set)
        return await load.run(load.Job(f"http://127.0.0.1:{port}/", rate=20), Tally(print), stop)

    with serving(ECHO) as port:
        summary = asyncio.run(asyncio.wait_for(stopped(), 5))
    assert summary["failures"] == 0
    assert 1 <= int(str(summary["requests"])) <= 20
