"""What counts as an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sidewinder_operator.local.readiness import Check, answers, until_ready


def serve(answer: bytes | None, test: Callable[[int], Awaitable[None]]) -> None:
    """Runs `test` beside a server that gives this answer to everybody; None never answers."""

    async def main() -> None:
        async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            if answer is not None:
                writer.write(answer)
                writer.close()

        server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
        try:  # not `async with`: from Python 3.12 on it waits for connections that nobody closes
            await asyncio.wait_for(test(server.sockets[0].getsockname()[1]), 10)
        finally:
            server.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.0 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
        (b"nonsense\r\n", False),
        (b"", False),
        (None, False),
    ],
    ids=["200", "204", "503", "no HTTP", "closed", "silent"],
)
def test_http(answer: bytes | None, ready: bool) -> None:
    async def test(port: int) -> None:
        assert await answers(Check(port=port, path="/ready", statuses=(200, 204), timeout=0.2)) is ready

    serve(answer, test)


def test_without_a_path_accepting_is_enough() -> None:
    async def test(port: int) -> None:
        assert await answers(Check(port=port))

    serve(None, test)


def test_waiting_goes_on_until_somebody_listens() -> None:
    async def test(port: int) -> None:
        waiting = asyncio.create_task(until_ready(Check(port=port + 0, interval=0.01)))
        await waiting

    serve(None, test)


def test_nobody_listening_is_no() -> None:
    async def test(port: int) -> None:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        free = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        assert not await answers(Check(port=free))

    serve(None, test)


def test_a_check_says_what_it_asks() -> None:
    assert str(Check(port=80, path="/x")) == "GET http://127.0.0.1:80/x"
    assert str(Check(port=80)) == "a connection to 127.0.0.1:80"
