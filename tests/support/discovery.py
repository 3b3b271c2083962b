"""A discovery server that says what a test tells it to, over a real Unix socket: raw bytes, chunked or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot import Resource, stream

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


def transaction(
    number: int, has: dict[str, Resource], *drops: str, state: str | None = None, only: set[str] | None = None
) -> list[bytes]:
    """The lines of a transaction that leads to exactly `has`; `only` these are sent."""
    raw = {name: snapshot.encode(body) for name, body in has.items()}
    versions = {name: snapshot.version(body) for name, body in raw.items()}
    sent = [name for name in sorted(has) if only is None or name in only]
    return [
        stream.encode(stream.Begin(number, state or snapshot.state(versions))),
        *(stream.encode(stream.Set(name, versions[name], msgspec.Raw(raw[name]))) for name in sent),
        *(stream.encode(stream.Drop(name)) for name in drops),
        stream.encode(stream.Commit(number)),
    ]


class Line:
    """One client's connection, seen from the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""
        self.released: list[int] = []
        self.seen: list[dict[str, tuple[stream.Ejected, ...]]] = []

    async def begin(self, head: bytes = HEAD) -> None:
        """Take the request's head and answer it."""
        self.head = await self.reader.readuntil(b"\r\n\r\n")
        self.writer.write(head)

    async def hear(self) -> stream.ToServer:
        """The client's next message (one chunk a message is what it sends); what it releases and sees is kept aside."""
        while True:
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            chunk = await self.reader.readexactly(size + 2)
            message = stream.to_server(chunk[:-3])
            if isinstance(message, stream.Released):
                self.released.append(message.released)
            elif isinstance(message, stream.Seen):
                self.seen.append(message.seen)
            else:
                return message

    def say(self, *lines: bytes, pieces: int = 0) -> None:
        """Lines in one chunk, or in chunks of `pieces` bytes."""
        data = b"".join(lines)
        step = pieces or len(data)
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            self.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    async def gone(self) -> None:
        """Wait until the client has left."""
        while await self.reader.read(65536):
            pass


Script = Callable[[Line], Awaitable[None]]


class Server:
    """Runs one script per connection, in order; the last one again and again."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.lines: list[Line] = []
        self.failures: list[BaseException] = []
        self._server: asyncio.AbstractServer | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, path: str) -> None:
        self._server = await asyncio.start_unix_server(self._serve, path)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for line in self.lines:
            line.writer.close()
        assert not self.failures, self.failures

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        line = Line(reader, writer)
        script = self.scripts[min(len(self.lines), len(self.scripts) - 1)]
        self.lines.append(line)
        try:
            await script(line)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the client left in the middle of the script, or the test is over
        except Exception as fault:  # noqa: BLE001 (told by close)
            self.failures.append(fault)
        finally:
            writer.close()
            self._tasks.discard(task)
