"""A TCP relay on loopback that tests cut and heal: one client's network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Relay:
    """Carries to `host`:`port` while it is not cut."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._writers: set[asyncio.StreamWriter] = set()
        self._cut = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.port = 0

    @asynccontextmanager
    async def serving(self, address: str = "127.0.0.1") -> AsyncIterator[Relay]:
        server = await asyncio.start_server(self._carry, address, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.cut()
            server.close()

    def target(self, host: str, port: int) -> None:
        """Carries there from now on."""
        self._target = host, port

    def cut(self) -> None:
        """What is open is reset, and what comes is."""
        self._cut = True
        for writer in self._writers:
            writer.transport.abort()

    def hold(self) -> None:
        """Connections stand and take data, and nothing arrives: a black hole."""
        self._flowing.clear()

    def heal(self) -> None:
        self._cut = False
        self._flowing.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(*self._target)
        self._writers |= {writer, back}
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            for each in (writer, back):
                self._writers.discard(each)
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.transport.abort()
