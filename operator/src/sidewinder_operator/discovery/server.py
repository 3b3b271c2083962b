"""The discovery stream over HTTP: POST /discovery, NDJSON in chunks both ways. Sessions decide, this module carries.

Who the client is comes from `name`, never from the body: the Unix socket it came through on one machine, its
certificate in a cluster, which also bounds how long the stream may last. A newer stream of the same client replaces
the older one. Streams are spread anew over the replicas from time to time: the client is told, comes back to whoever
answers, and only then leaves (make before break).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator

from aiohttp import web

from sidewinder_operator.discovery.acks import Acks, Having, Maybe
from sidewinder_operator.discovery.caller import Stranger
from sidewinder_operator.discovery.departures import Departures
from sidewinder_operator.discovery.newcomers import Newcomer, Newcomers
from sidewinder_operator.discovery.session import Session
from sidewinder_operator.discovery.store import Store
from sidewinder_sidecar.snapshot import stream

PING_SECONDS = 10.0  # three missed: a silent client is gone after 30–40 s; a closed connection is seen at once
DRAIN_SECONDS = 10.0  # what one write may wait for a client that does not read, before it is dropped
GOODBYE_SPREAD_MS = 2000  # clients told to go come back spread over this, not all at once
REBALANCE_SECONDS = 1800.0  # of a stream, ± 20 %
PARTING_SECONDS = 60.0  # for a client that was told so to come back elsewhere and leave
RETURN_SECONDS = 2.0  # what such a client has acknowledged holds on, until it has acknowledged it elsewhere
LISTEN_SECONDS = 2.0  # after every replica was restarted; proxies that lost their streams are back within one
CHECKS = "checks/self"  # the resource of who checks endpoints
PIECE_BYTES = 65536  # of one wait; what a client that does not drain makes us hold
WRITE_BYTES = 4096  # of one write: the buffer of TLS keeps the size of the largest as long as the connection lasts


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

    def __init__(
        self,
        workload: str,
        widen: Callable[[tuple[str, ...]], tuple[str, ...]],
        doubted: Callable[[tuple[str, ...]], None] = lambda names: None,
    ) -> None:
        self.workload = workload
        self.session = Session(widen, doubted)
        self.wake = asyncio.Event()
        self.welcome = False  # its turn to get a picture has come
        self.parting = False  # it was told to come back elsewhere and to leave then
        self.goodbye = ""  # why it is told to go; the writer sends it and ends
        self.until = 0  # when the certificate that it came with ends, in seconds since 1970; 0: it came with none

    @property
    def epoch(self) -> int:
        """The client's own count of its connections."""
        return self.session.hello.epoch if self.session.hello is not None else 0

    def leave(self, why: str) -> None:
        """Ends the stream in good order."""
        self.goodbye = self.goodbye or why
        self.wake.set()

    def retire(self) -> None:
        """Tells the pod that nobody sends it anything new."""
        self.session.retire()
        self.wake.set()


class Discovery:
    """All streams of this replica. `application` is what a runner serves, on as many sites as needed."""

    def __init__(
        self,
        store: Store,
        acks: Acks,
        name: Callable[[web.Request], str | None],
        *,
        lasting: Callable[[web.Request], float | None] = lambda request: None,
        ping_seconds: float = PING_SECONDS,
        drain_seconds: float = DRAIN_SECONDS,
        rebalance_seconds: float = REBALANCE_SECONDS,
        departures: Departures | None = None,
        newcomers: Newcomers | None = None,
        rejected: Callable[[str, Session], None] = lambda workload, session: None,
        doubted: Callable[[tuple[str, ...]], None] = lambda names: None,
        drained: Callable[[str, stream.Drained], None] = lambda workload, told: None,
        resigned: Callable[[str], None] = lambda workload: None,
        listen_seconds: float = LISTEN_SECONDS,
    ) -> None:
        self._store = store
        self._acks = acks
        self._name = name  # may raise Stranger, with the reason
        self._lasting = lasting  # seconds that a stream may last, as its client's certificate does; None: no bound
        self._ping_seconds = ping_seconds
        self._drain_seconds = drain_seconds
        self._rebalance_seconds = rebalance_seconds
        self._rejected = rejected
        self._resigned = resigned  # a last resort ends
        self._drained = drained  # a client's last word: how its drain went
        self._doubted = doubted  # resources that a client takes for out of date, by name
        self.clients: dict[str, Client] = {}
        self.newcomers = newcomers or Newcomers()
        self._closing = ""
        self._listen_seconds = listen_seconds
        self._listened: float | None = None  # until when, by the loop's clock; None: nobody could be told anything yet
        departures = departures or Departures(store, acks)
        departures.tell(self.clients, lambda workload: self.clients[workload].retire())

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

    def _whose(self, request: web.Request) -> str:
        if (workload := self._name(request)) is None:
            raise Stranger("nobody is known by this connection")
        return workload

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            workload = self._whose(request)
        except Stranger as stranger:
            return web.json_response({"error": str(stranger)}, status=403)
        if self._closing:
            return web.json_response({"error": f"not taking streams: {self._closing}"}, status=503)
        return await self._stream(request, workload)

    async def _stream(self, request: web.Request, workload: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        client = Client(workload, lambda keys: self._widen(workload, keys), self._doubted)
        if (lasting := self._lasting(request)) is not None:
            client.until = round(time.time() + lasting)
        if (older := self.clients.get(workload)) is not None:
            older.leave("replaced by a newer stream")
        self.clients[workload] = client
        unwatch = self._store.watch(lambda: self._want(client), workload)
        newcomer = self.newcomers.enter(lambda: self._welcome(client))
        writer = asyncio.create_task(self._write(client, response), name=f"discovery to {workload}")
        reader = asyncio.create_task(self._read(client, request, newcomer), name=f"discovery from {workload}")
        try:
            both = (writer, reader)
            await asyncio.wait(both, timeout=lasting, return_when=asyncio.FIRST_COMPLETED)
            if not writer.done():  # the client ended, broke the rules, or is out of time: the writer may still say so
                client.leave("end of stream" if reader.done() else "certificate expired")
                await asyncio.wait((writer,), timeout=self._drain_seconds)
        finally:
            unwatch()
            newcomer.settle()
            for task in (writer, reader):
                task.cancel()
            if self.clients.get(workload) is client:
                del self.clients[workload]
                if client.parting and not self._closing:
                    asyncio.get_running_loop().call_later(RETURN_SECONDS, self._forget, client)
                else:
                    self._forget(client)
            await asyncio.gather(writer, reader, return_exceptions=True)
            if request.transport is not None:
                request.transport.close()
        return response

    def _forget(self, client: Client) -> None:
        """It has left, and has not come back to this replica."""
        workload = client.workload
        if workload not in self.clients:
            self._acks.gone(workload, client.epoch)
            if workload not in self._acks.having:  # else another replica has its stream, and its wants
                self._store.forget(workload)

    def _widen(self, workload: str, keys: tuple[str, ...]) -> tuple[str, ...]:
        unknown = self._store.want(workload, keys)
        return unknown if workload in self._store.pictures else ()  # who knows nothing yet does not say what there is

    def _welcome(self, client: Client) -> None:
        client.welcome = True
        self._want(client)

    def _want(self, client: Client) -> None:
        picture = self._store.pictures.get(client.workload)
        if picture is not None and client.welcome and not self._listens(client.session):
            client.session.want(picture)
            client.wake.set()

    def _listens(self, session: Session) -> bool:
        """Does a client that has a configuration wait, because those have hardly come yet who know which endpoints are
        unwell? Or all would be told that all are well, and a moment later that they are not."""
        if self._listened is None:
            self._listened = 0.0
            if not self._acks.health() and any(CHECKS in each.versions for each in self._store.pictures.values()):
                loop = asyncio.get_running_loop()
                self._listened = loop.time() + self._listen_seconds
                loop.call_at(self._listened, self._on_listened)
        if not self._listened or session.confirmed or (session.hello is not None and not session.has):
            return False
        return asyncio.get_running_loop().time() < self._listened

    def _on_listened(self) -> None:
        self._listened = 0.0
        for client in self.clients.values():
            self._want(client)

    async def _read(self, client: Client, request: web.Request, newcomer: Newcomer) -> None:
        session = client.session
        try:
            async for line in Lines(request.content.iter_any()):
                message = stream.to_server(line)
                session.receive(message)
                if isinstance(message, stream.Drained):
                    self._drained(client.workload, message)
                if isinstance(message, stream.Resigned):
                    self._resigned(client.workload)
                if isinstance(message, stream.Greeting):
                    self._on_hello(client)
                if isinstance(message, stream.Health):
                    self._acks.say(client.workload, session.health)
                self._told(client)
                if session.confirmed or client.workload not in self._store.pictures:  # nothing comes of it yet
                    newcomer.settle()
                client.wake.set()
        except stream.Malformed as fault:
            client.leave(f"malformed: {fault}")
        except (ConnectionError, web.HTTPException, TimeoutError):
            pass  # the client is gone; so is its stream

    def _on_hello(self, client: Client) -> None:
        """What it wanted before, it wants again, before anything is taken from it."""
        self._store.restore(client.workload, client.session.has)
        self._acks.claim(client.workload, Having(epoch=client.epoch, versions=client.session.has))
        self._want(client)

    def _told(self, client: Client) -> None:
        session = client.session
        if self.clients.get(client.workload) is not client:
            return
        self._expect(client)
        if not session.confirmed and not session.rejections:
            return  # what an older stream has told holds until this one knows better
        versions = session.has if session.confirmed else {}
        build = session.hello.build if session.hello is not None else ""
        having = Having(
            epoch=client.epoch,
            versions=versions,
            rejections=dict(session.rejections),
            build=build,
            wants=self._store.wants(client.workload),
            trusts=session.trusts.trusts,
            renewed=session.trusts.renewed,
            until=client.until,
            health=session.health,
            ejected=session.seen,
        )
        before = self._acks.own.get(client.workload)
        self._acks.tell(client.workload, having)
        if session.rejections and (before is None or before.rejections != having.rejections):
            self._rejected(client.workload, session)

    def _expect(self, client: Client) -> None:
        """What it may hold from now on: said before anything is sent, and after each answer."""
        if client.session.hello is not None and self.clients.get(client.workload) is client:  # older ones say goodbye
            self._acks.expect(client.workload, Maybe(epoch=client.epoch, versions=client.session.open))

    async def _write(self, client: Client, response: web.StreamResponse) -> None:
        """Writes what the session has to say, pings in between, and ends after a goodbye."""
        loop = asyncio.get_running_loop()
        next_ping = loop.time() + self._ping_seconds
        part_at = loop.time() + self._rebalance_seconds * random.uniform(0.8, 1.2)
        while True:
            client.wake.clear()
            parts = loop.time() >= part_at and not client.goodbye
            if parts:
                part_at += PARTING_SECONDS
                if client.parting:
                    return  # it has been told, and stayed
                client.parting = True
            if not await self._say(client, response, parts):
                return
            alarm = loop.call_at(min(next_ping, part_at), client.wake.set)  # `wait_for` would take a task a stream
            try:
                await client.wake.wait()
            finally:
                alarm.cancel()
            if loop.time() >= next_ping:
                next_ping = loop.time() + self._ping_seconds
                if not client.session.tick():
                    return

    async def _say(self, client: Client, response: web.StreamResponse, parts: bool) -> bool:
        """Whether the stream goes on. What was written is let go with this call: two thousand wait for the next."""
        lines = client.session.lines()
        self._expect(client)
        if client.goodbye:
            lines = [_goodbye(client.goodbye)]
        elif parts:
            lines.append(_goodbye("rebalance"))
        try:
            for piece in _pieces(lines):
                await asyncio.wait_for(_send(response, piece), self._drain_seconds)
        except (ConnectionError, TimeoutError):
            return False  # gone, or it does not drain
        return not client.goodbye


def _pieces(lines: list[bytes]) -> Iterator[bytes]:
    """The same bytes in few pieces: line by line they would be as many chunks and TLS records, 100 µs for 300 bytes."""
    start = size = 0
    for end, line in enumerate(lines):
        if size and size + len(line) > PIECE_BYTES:
            yield b"".join(lines[start:end])
            start, size = end, 0
        size += len(line)
    if size:
        yield b"".join(lines[start:])


async def _send(response: web.StreamResponse, piece: bytes) -> None:
    """The loop gathers these writes into one call of the kernel. Raises ConnectionError."""
    if len(piece) <= WRITE_BYTES:
        await response.write(piece)
        return
    whole = memoryview(piece)
    for start in range(0, len(piece), WRITE_BYTES):
        await response.write(whole[start : start + WRITE_BYTES])


def _goodbye(why: str) -> bytes:
    return stream.encode(stream.Goodbye(why, random.randrange(GOODBYE_SPREAD_MS)))
