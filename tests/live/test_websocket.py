"""A real WebSocket client and server with a sidecar in between: both ways, large, pinged, and closed by either side."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.support.adversary import gauge
from tests.support.sidecar import sidecar, snapshot

pytestmark = pytest.mark.live

LARGE = b"x" * 900_000  # more than any buffer on the way, less than aiohttp's limit of 4 MB


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Sends back what comes; `leave` makes it close."""
    socket = web.WebSocketResponse(protocols=("chat",))
    await socket.prepare(request)
    async for message in socket:
        if message.data == "leave":
            await socket.close(code=4001, message=b"as asked")
        elif message.type == aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        else:
            await socket.send_bytes(message.data)
    return socket


async def talk(port: int) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"http://127.0.0.1:{port}/chat", protocols=("chat",)) as socket:
            assert socket.protocol == "chat"
            for turn in range(50):
                await socket.send_str(f"hello {turn}")
                assert (await socket.receive(timeout=10)).data == f"hello {turn}"
            await socket.send_bytes(LARGE)
            assert (await socket.receive(timeout=10)).data == LARGE
            await socket.ping()
            await socket.send_str("leave")
            assert (await socket.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 4001
        async with session.ws_connect(f"http://127.0.0.1:{port}/chat") as socket:
            await socket.send_str("and this side leaves")
            await socket.receive(timeout=10)
            await socket.close()


def test_a_real_websocket(tmp_path: Path) -> None:
    async def run() -> None:
        application = web.Application()
        application.router.add_get("/chat", echo)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        upstream: int = runner.addresses[0][1]
        try:
            with sidecar(tmp_path, snapshot(upstream)) as proxy:
                port = await asyncio.to_thread(proxy.ready)
                await asyncio.wait_for(talk(port), 30)
                lines = await asyncio.to_thread(proxy.log, 2)
                assert [(line["status"], line.get("error")) for line in lines] == [(101, None), (101, None)]
                assert lines[0]["bytes_in"] > len(LARGE) < lines[0]["bytes_out"]
                assert await asyncio.to_thread(gauge, proxy, "sidewinder_requests_in_flight") == 0
        finally:
            await runner.cleanup()

    asyncio.run(run())
