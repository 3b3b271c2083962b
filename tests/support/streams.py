"""The operator's discovery server on Unix sockets, and a client that is written by hand."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

from sidewinder_operator.compile.project import Encoded
from sidewinder_operator.discovery.acks import Acks
from sidewinder_operator.discovery.server import Discovery
from sidewinder_operator.discovery.store import Store
from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot import stream

HEAD = b"POST /discovery HTTP/1.1\r\nhost: operator\r\ntransfer-encoding: chunked\r\n\r\n"


def encoded(name: str, value: object) -> Encoded:
    raw = json.dumps({"value": value}).encode()
    return Encoded(name, snapshot.version(raw), raw, None, ())


class Wire:
    """A hand-made client: one connection, chunks both ways."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.has: dict[str, str] = {}
        self._buffer = b""
        self._lines: list[bytes] = []

    @classmethod
    async def open(cls, path: Path, epoch: int = 1, has: dict[str, str] | None = None) -> Wire:
        wire = cls(*await asyncio.open_unix_connection(str(path)))
        wire.has = dict(has or {})
        wire.writer.write(HEAD)
        wire.say(stream.Greeting(stream.Hello(epoch=epoch, has=wire.has)))
        head = await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), 5)
        assert head.startswith(b"HTTP/1.1 200"), head
        return wire

    def say(self, message: stream.ToServer) -> None:
        self.raw(stream.encode(message))

    def raw(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    async def hear(self) -> Any:
        """The next message; None at the end of the stream."""
        while not self._lines:
            try:
                size = int(await asyncio.wait_for(self.reader.readuntil(b"\r\n"), 5), 16)
                self._buffer += (await self.reader.readexactly(size + 2))[:-2]
            except asyncio.IncompleteReadError:
                return None
            *self._lines, self._buffer = self._buffer.split(b"\n")
            if size == 0:
                return None
        return stream.to_client(self._lines.pop(0))

    async def apply(self) -> dict[str, str]:
        """Takes one transaction and acknowledges it."""
        while not isinstance(message := await self.hear(), stream.Commit):
            match message:
                case stream.Begin(_, state):
                    wanted = state
                case stream.Set(name, version):
                    self.has[name] = version
                case stream.Drop(name):
                    del self.has[name]
                case _:
                    raise AssertionError(f"unexpected {message}")
        self.say(stream.Ack(message.commit, wanted))
        return self.has

    async def until(self, kind: type[Any]) -> Any:
        """The next message of a kind; what comes before it is passed over."""
        while not isinstance(message := await self.hear(), kind):
            assert message is not None, "the stream ended"
        return message

    def close(self) -> None:
        self.writer.transport.abort()


class Site:
    """A running server with one socket per workload."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.store = Store()
        self.acks = Acks(self.store)
        self.discovery = Discovery(self.store, self.acks, self.name, **options)

    def name(self, request: web.Request) -> str | None:
        assert request.transport is not None
        stem = Path(request.transport.get_extra_info("sockname")).stem
        return None if stem == "stranger" else stem

    def path(self, workload: str) -> Path:
        return self.folder / f"{workload}.sock"

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(500):
            if holds():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it never came to hold")


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Site]:
    with tempfile.TemporaryDirectory(prefix="sw-") as folder:  # a socket's path has at most 107 bytes
        site = Site(Path(folder), **options)
        runner = site.discovery.runner()
        await runner.setup()
        for workload in ("a", "b", "stranger"):
            await web.UnixSite(runner, str(site.path(workload))).start()
        try:
            yield site
        finally:
            site.discovery.close()
            await runner.cleanup()


def run(test: Callable[[], Awaitable[None]]) -> None:
    uvloop.run(asyncio.wait_for(test(), 20))
