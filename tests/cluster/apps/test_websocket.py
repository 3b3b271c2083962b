"""The WebSocket echo against frames written by hand and against a real client."""

from __future__ import annotations

import asyncio

import pytest
import websocket as client

from tests.cluster.apps import echo, websocket
from tests.cluster.support.background import serving


def test_the_example_of_the_rfc() -> None:
    assert websocket.accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
@pytest.mark.parametrize("masked", [True, False])
def test_a_frame_that_is_written_is_read(size: int, masked: bool) -> None:
    data = bytes(range(256)) * (size // 256 + 1)

    async def back() -> tuple[int, bytes, bool]:
        reader = asyncio.StreamReader()
        reader.feed_data(websocket.frame(websocket.BINARY, data[:size], client=masked, final=False))
        return await websocket.read_frame(reader)

    assert asyncio.run(back()) == (websocket.BINARY, data[:size], False)


def test_a_real_client_gets_back_what_it_sent() -> None:
    with serving(echo.Echo(echo.Self.here())) as port:
        talk = client.create_connection(f"ws://127.0.0.1:{port}/chat", timeout=5)
        talk.send("text")
        assert talk.recv() == "text"
        talk.send_binary(b"\0\1" * 40_000)
        assert talk.recv() == b"\0\1" * 40_000
        talk.ping("are you there")
        assert talk.recv_frame().data == b"are you there"
        talk.close()
