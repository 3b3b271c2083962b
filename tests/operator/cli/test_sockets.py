"""A socket per sidecar: its owner's alone, and it names the client."""

from __future__ import annotations

import asyncio
import stat
import tempfile
from pathlib import Path

import uvloop
from aiohttp import web

from sidewinder_operator.cli.sockets import Sockets


async def ask(path: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.transport.abort()
    return answer.partition(b"\r\n\r\n")[2]


def test_the_socket_says_who_it_is_and_nobody_else_may_use_it() -> None:
    async def main(folder: Path) -> None:
        sockets = Sockets(folder)

        async def name(request: web.Request) -> web.Response:
            return web.Response(text=str(sockets.name(request)))

        application = web.Application()
        application.router.add_get("/", name)
        runner = web.AppRunner(application)
        await runner.setup()
        sockets.serve(runner)
        one, other = sockets.open("one"), sockets.open("other")
        assert await ask(one) == b"one", "it can be used at once"
        assert await ask(other) == b"other"
        assert stat.S_IMODE(one.stat().st_mode) == 0o600
        await sockets.close("one")
        await sockets.close("one")
        assert not one.exists()
        assert await ask(other) == b"other"
        assert sockets.open("one") != one, "a path is never used twice"
        await sockets.close_all()
        await runner.cleanup()

    with tempfile.TemporaryDirectory(prefix="sw-") as folder:
        uvloop.run(main(Path(folder)))
        assert [*Path(folder).iterdir()] == []
