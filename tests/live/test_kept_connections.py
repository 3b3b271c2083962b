"""An application that closes kept connections sooner than the proxy would, as gunicorn does, and orders that come just
then: none of them is lost, though none may be sent twice. Real processes and sockets."""

from __future__ import annotations

import asyncio
import http.client
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sidecar import sidecar, snapshot

pytestmark = pytest.mark.live

KEPT_SECONDS = 1.2
CALLERS, TIMES = 24, 5


async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\nx"), KEPT_SECONDS)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    except (TimeoutError, asyncio.IncompleteReadError, OSError):
        writer.close()


@pytest.fixture
def port() -> Iterator[int]:
    """The application's, which runs in a thread."""
    loop, known = asyncio.new_event_loop(), threading.Event()
    server = loop.run_until_complete(asyncio.start_server(app, "127.0.0.1", 0))
    loop.call_soon(known.set)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    assert known.wait(10)
    yield server.sockets[0].getsockname()[1]
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


def test_no_order_meets_a_connection_that_is_being_closed(tmp_path: Path, port: int) -> None:
    statuses: list[int] = []

    def call(number: int) -> None:
        chance = random.Random(number)
        connection = http.client.HTTPConnection("127.0.0.1", listener, timeout=10)
        for _ in range(TIMES):
            connection.request("POST", "/", b"x", {"Host": "reviews"})
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
            time.sleep(KEPT_SECONDS + chance.uniform(-0.001, 0.0025))  # when the application closes
        connection.close()

    with sidecar(tmp_path, snapshot(port)) as proxy:
        listener = proxy.ready()
        callers = [threading.Thread(target=call, args=(number,)) for number in range(CALLERS)]
        for each in callers:
            each.start()
        for each in callers:
            each.join()
    assert statuses == [200] * (CALLERS * TIMES), "one in 25 failed before"
