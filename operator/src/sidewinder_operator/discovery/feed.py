"""What this replica's streams have told, for the other replicas: `GET /acks`, lines as in `report`, until they leave.

First all that is known, then `synced`, then what changes, gathered for a moment: acknowledgements come in flocks. Who
asks is judged by `is_operator`, from the connection's certificate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from aiohttp import web

from sidewinder_operator.discovery import report
from sidewinder_operator.discovery.acks import Acks

GATHER_SECONDS = 0.25
PING_SECONDS = 5.0  # who hears nothing for three of these takes the stream for dead
DRAIN_SECONDS = 10.0  # what one write may wait for a replica that does not read
PIECE = 65_536  # bytes at once: 5 000 proxies take a while, and the loop has other work
MOST = 32  # streams at once; there are as many as other replicas, and for a moment those of dead ones


class _Stream:
    """One that is open. A flag ends it: `wait_for` can lose a cancellation up to Python 3.11."""

    def __init__(self) -> None:
        self.bell = asyncio.Event()
        self.over = False

    def end(self) -> None:
        self.over = True
        self.bell.set()


class Feed:
    """All such streams of this replica. `kind`: what pods have in common (their namespace), so that lines are short."""

    def __init__(
        self,
        acks: Acks,
        is_operator: Callable[[web.Request], bool],
        *,
        kind: Callable[[str], str] = lambda pod: "",
        lasting: Callable[[web.Request], float] = lambda request: float("inf"),
        gather_seconds: float = GATHER_SECONDS,
        ping_seconds: float = PING_SECONDS,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self._acks = acks
        self._is_operator = is_operator
        self._kind = kind
        self._lasting = lasting  # seconds that a stream may last, as its client's certificate does
        self._gather_seconds = gather_seconds
        self._ping_seconds = ping_seconds
        self._drain_seconds = drain_seconds
        self.streams: dict[str, _Stream] = {}  # replica → its newest stream

    def route(self, application: web.Application) -> None:
        """Adds the one route."""
        application.router.add_get("/acks", self.serve)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One stream, to its end."""
        if not self._is_operator(request):
            return web.json_response({"error": "only replicas of the operator may ask this"}, status=403)
        replica = request.query.get("replica", "")[:253]
        if (older := self.streams.get(replica)) is not None:
            older.end()
        elif len(self.streams) >= MOST:
            return web.json_response({"error": f"{MOST} replicas are told already"}, status=503)
        response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
        response.enable_chunked_encoding()
        response.force_close()
        await response.prepare(request)
        mine = self.streams[replica] = _Stream()
        try:
            await self._write(response, mine, asyncio.get_running_loop().time() + self._lasting(request))
        except (ConnectionError, TimeoutError):  # gone, or it does not read: not even that it is over
            if request.transport is not None:
                request.transport.abort()
        finally:
            if self.streams.get(replica) is mine:
                del self.streams[replica]
        return response

    async def _write(self, response: web.StreamResponse, mine: _Stream, until: float) -> None:
        lines, changed = report.Writing(), dict[str, None]()

        def heard(pod: str) -> None:
            changed[pod] = None
            mine.bell.set()

        stop = self._acks.listen(heard, mine.bell.set)
        try:
            await self._tell(response, lines, sorted(self._acks.own.keys() | self._acks.maybe.keys(), key=self._kind))
            await self._send(response, report.SYNCED)
            pings = 0
            while not mine.over and asyncio.get_running_loop().time() < until:
                try:
                    await asyncio.wait_for(mine.bell.wait(), self._ping_seconds)
                except TimeoutError:
                    pings += 1
                    await self._send(response, report.ping(pings))
                    continue
                await asyncio.sleep(self._gather_seconds)
                mine.bell.clear()
                pods = [*changed]
                changed.clear()
                await self._tell(response, lines, pods)
        finally:
            stop()

    async def _tell(self, response: web.StreamResponse, lines: report.Writing, pods: Iterable[str]) -> None:
        piece, leaving = bytearray(), frozenset(self._acks.leaving)  # sworn off after all that is known by now
        for pod in pods:
            having = self._acks.own.get(pod)
            if having is not None or lines.knows(pod):
                piece += lines.line(pod, having, self._kind(pod))
            piece += lines.open(pod, self._acks.maybe.get(pod))
            if len(piece) >= PIECE:
                await self._send(response, bytes(piece))
                piece.clear()
                await asyncio.sleep(0)
        piece += lines.sworn(leaving)
        if piece:
            await self._send(response, bytes(piece))

    async def _send(self, response: web.StreamResponse, data: bytes) -> None:
        await asyncio.wait_for(response.write(data), self._drain_seconds)
