"""The discovery stream over HTTP: POST /discovery, NDJSON in chunks both ways. Sessions decide, this module carries.

Who the client is comes from `name`, never from the body: the Unix socket it came through on one machine, its
certificate in a cluster. A newer stream of the same client replaces the older one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from sidewinder_operator.discovery.acks import Acks, Having
from sidewinder_operator.discovery.session import Session
from sidewinder_operator.discovery.store import Store
from sidewinder_sidecar.snapshot import stream

PING_SECONDS = 10.0  # three missed: a silent client is gone after 30–40 s; a closed connection is seen at once
DRAIN_SECONDS = 10.0  # what one write may wait for a client that does not read, before it is dropped
GOODBYE_SPREAD_MS = 2000  # clients told to go come back spread over this, not all at once


class Lines:
    """Whole lines out of a body that comes in any pieces; none longer than the contract allows."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        rest = bytearray()
        async for chunk in self._chunks:
            rest += chunk
            while (end := rest.find(b"\n")) >= 0:
                line = bytes(rest[:end])
                del rest[: end + 1]
                yield line
            if len(rest) > stream.LONGEST_LINE:
                raise stream.Malformed(f"a line of more than {stream.LONGEST_LINE} bytes")


class Client:
    """One open stream: its session, and the event that says there may be something to write."""

    def __init__(self, workload: str) -> None:
        self.workload = workload
        self.session = Session()
        self.wake = asyncio.Event()
        self.goodbye = ""  # why it is told to go; the writer sends it and ends

    @property
    def epoch(self) -> int:
        """The client's own count of its connections."""
        return self.session.hello.epoch if self.session.hello is not None else 0

    def leave(self, why: str) -> None:
        """Ends the stream in good order."""
        self.goodbye = self.goodbye or why
        self.wake.set()


class Discovery:
    """All streams of this replica. `application` is what a runner serves, on as many sites as needed."""

    def __init__(
        self,
        store: Store,
        acks: Acks,
        name: Callable[[web.Request], str | None],
        *,
        ping_seconds: float = PING_SECONDS,
        drain_seconds: float = DRAIN_SECONDS,
        rejected: Callable[[str, Session], None] = lambda workload, session: None,
    ) -> None:
        self._store = store
        self._acks = acks
        self._name = name
        self._ping_seconds = ping_seconds
        self._drain_seconds = drain_seconds
        self._rejected = rejected
        self.clients: dict[str, Client] = {}
        self._closing = ""

    def application(self) -> web.Application:
        """The aiohttp application with the one route."""
        application = web.Application()
        application.router.add_post("/discovery", self._serve)
        return application

    def runner(self) -> web.AppRunner:
        """A runner for it. A stream ends when its handler does: nothing lingers for a body that never ends."""
        return web.AppRunner(self.application(), access_log=None, lingering_time=0, handler_cancellation=True)

    def close(self, why: str = "shutdown") -> None:
        """Says goodbye to everybody and takes nobody new."""
        self._closing = why
        for client in self.clients.values():
            client.leave(why)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        workload = self._name(request)
        if workload is None:
            return web.json_response({"error": "nobody is known by this connection"}, status=403)
        if self._closing:
            return web.json_response({"error": f"not taking streams: {self._closing}"}, status=503)
        response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        client = Client(workload)
        if (older := self.clients.get(workload)) is not None:
            older.leave("replaced by a newer stream")
        self.clients[workload] = client
        unwatch = self._store.watch(lambda: self._want(client), workload)
        self._want(client)
        writer = asyncio.create_task(self._write(client, response), name=f"discovery to {workload}")
        reader = asyncio.create_task(self._read(client, request), name=f"discovery from {workload}")
        try:
            await asyncio.wait((writer, reader), return_when=asyncio.FIRST_COMPLETED)
            if not writer.done():  # the client ended, or broke the rules: the writer may still say so
                client.leave("end of stream")
                await asyncio.wait((writer,), timeout=self._drain_seconds)
        finally:
            unwatch()
            for task in (writer, reader):
                task.cancel()
            if self.clients.get(workload) is client:
                del self.clients[workload]
                self._acks.gone(workload, client.epoch)
            await asyncio.gather(writer, reader, return_exceptions=True)
            if request.transport is not None:
                request.transport.close()
        return response

    def _want(self, client: Client) -> None:
        picture = self._store.pictures.get(client.workload)
        if picture is not None:
            client.session.want(picture)
            client.wake.set()

    async def _read(self, client: Client, request: web.Request) -> None:
        session = client.session
        try:
            async for line in Lines(request.content.iter_any()):
                session.receive(stream.to_server(line))
                self._told(client)
                client.wake.set()
        except stream.Malformed as fault:
            client.leave(f"malformed: {fault}")
        except (ConnectionError, web.HTTPException, TimeoutError):
            pass  # the client is gone; so is its stream

    def _told(self, client: Client) -> None:
        session = client.session
        if self.clients.get(client.workload) is not client:
            return
        versions = session.has if session.confirmed else {}
        having = Having(epoch=client.epoch, versions=versions, rejections=dict(session.rejections))
        before = self._acks.having.get(client.workload)
        self._acks.tell(client.workload, having)
        if session.rejections and (before is None or before.rejections != having.rejections):
            self._rejected(client.workload, session)

    async def _write(self, client: Client, response: web.StreamResponse) -> None:
        """Writes what the session has to say, pings in between, and ends after a goodbye."""
        loop = asyncio.get_running_loop()
        next_ping = loop.time() + self._ping_seconds
        while True:
            client.wake.clear()
            lines = client.session.lines()
            if client.goodbye:
                lines = [stream.encode(stream.Goodbye(client.goodbye, random.randrange(GOODBYE_SPREAD_MS)))]
            try:
                for line in lines:
                    await asyncio.wait_for(response.write(line), self._drain_seconds)
            except (ConnectionError, TimeoutError):
                return  # gone, or it does not drain
            if client.goodbye:
                return
            try:
                await asyncio.wait_for(client.wake.wait(), max(0.0, next_ping - loop.time()))
            except TimeoutError:
                next_ping = loop.time() + self._ping_seconds
                if not client.session.tick():
                    return
