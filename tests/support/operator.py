"""An operator for live tests: a discovery server in a thread, which publishes what a test gives it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sidewinder_sidecar.snapshot import Resource, decode, stream
from tests.support.discovery import Line, Server, transaction
from tests.support.sidecar import Snapshot


class Operator:
    """Publishes pictures from a thread; `answers` are acks and nacks."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.answers: list[Any] = []
        self.hellos: list[Any] = []
        self.loop = asyncio.new_event_loop()
        self.queue: asyncio.Queue[dict[str, Resource]] = asyncio.Queue()
        self.server = Server(self.script)
        self.line: Line | None = None
        self.picture: dict[str, Resource] | None = None
        self.number = 0
        self.has: set[str] = set()

    async def script(self, line: Line) -> None:
        await line.begin()
        self.line = line
        self.hellos.append((await line.hear()).hello)
        self.has = set(self.hellos[-1].has)
        if self.picture is not None:
            await self.send(line)
        while True:
            self.picture = await self.queue.get()
            await self.send(line)

    async def send(self, line: Line) -> None:
        assert self.picture is not None
        self.number += 1
        line.say(*transaction(self.number, self.picture, *sorted(self.has - set(self.picture))))
        answer = await line.hear()
        if isinstance(answer, stream.Ack):
            self.has = set(self.picture)
        self.answers.append(answer)

    def publish(self, picture: Snapshot) -> None:
        """`answers` gets one more."""
        bodies = {name: decode(name, stream.msgspec.json.encode(body)) for name, body in picture.items()}
        self.loop.call_soon_threadsafe(self.queue.put_nowait, bodies)

    def say(self, message: stream.ToClient) -> None:
        """One line to the client that came last."""
        assert self.line is not None
        self.loop.call_soon_threadsafe(self.line.say, stream.encode(message))


@contextmanager
def operator(path: str) -> Iterator[Operator]:
    """Listens at `path` while the block runs."""
    one = Operator(path)
    thread = threading.Thread(target=one.loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(one.server.open(path), one.loop).result(5)
    try:
        yield one
    finally:
        asyncio.run_coroutine_threadsafe(one.server.close(), one.loop).result(5)
        one.loop.call_soon_threadsafe(one.loop.stop)
        thread.join(5)
        one.loop.close()
