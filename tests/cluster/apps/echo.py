"""The HTTP echo: every answer tells which pod gave it and what reached that pod.

Called by __main__.py and the tests; calls http1.py and websocket.py. A request's query changes the answer:
`status=503`, `delay=0.5` (seconds before it), `size=1000` (bytes of padding), `drip=20` (seconds that the body takes),
`chunked=1`, `close=1`, `drop=1` (no answer). /healthz is 503 until READY_AFTER seconds have passed. An upgrade to
`websocket` becomes an echo of frames. A pod gets ill by a file: WISHES has wishes by path, as `{"/work": {"status":
"503"}}`, which hold for every request for that path while the file is there.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import json
import os
import socket
import time
import zlib
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from . import http1, websocket

LOAD_NUMBER = "x-load-number"  # of the load client's requests
WHOLE = "X-Whole"  # of the answer's body, by which the load client knows it
WISHES = "/tmp/wishes"  # written from outside, by whoever may run commands in the pod
PATHS = 100  # that are counted apart
DRIPS = 0.1  # seconds from one piece of a slow body to the next


@dataclasses.dataclass(frozen=True)
class Self:
    """Who answers: from the downward API where the manifest gives it, else from the host's name."""

    pod: str
    namespace: str
    node: str
    name: str
    version: str

    @classmethod
    def here(cls) -> Self:
        told = {field.name: os.environ.get(field.name.upper(), "") for field in dataclasses.fields(cls)}
        return cls(**told | {"pod": told["pod"] or socket.gethostname()})


class Echo:
    """One server: who it is and since when."""

    def __init__(self, me: Self, ready_after: float = 0, wishes: Path = Path(WISHES)) -> None:
        self._me = dataclasses.asdict(me)
        self._wishes = wishes
        self._asked: collections.Counter[str] = collections.Counter()
        self._ready = time.monotonic() + ready_after
        self._count = 0
        self._numbered = 0

    def describe(self, request: http1.Message, connection: int, writer: asyncio.StreamWriter) -> dict[str, object]:
        """What reached this pod, as data. `connection` says how many requests its connection has carried."""
        method, target, protocol = request.start
        peer, local = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        tls = writer.get_extra_info("ssl_object")
        return (
            self._me
            | {
                "protocol": protocol,
                "method": method,
                "target": target,
                "headers": request.headers,
                "body_bytes": len(request.body),
                "body_crc32": zlib.crc32(request.body),  # so that another request's body of the same size is known
                "body": request.body[:4096].decode("utf-8", "replace"),  # enough for people and for tests of rewriting
                "peer": list(peer[:2]),
                "local": list(local[:2]),
                "tls": tls.version() if tls else None,
                "on_connection": connection,
                "served": self._count,
                "of_loads": self._numbered,  # of those, what load clients sent: no probe and nobody who looks
                "asked": dict(self._asked),  # how often each path was
            }
        )

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        try:
            await self._converse(reader, writer)
        except http1.Damaged as error:
            writer.write(http1.response(400, f"{error}\n".encode(), ("Connection", "close")))
        except (http1.Ended, ConnectionError, asyncio.IncompleteReadError):
            pass  # the other side went away
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, stays = 0, True
        while stays:
            request = await http1.read_request(reader)
            number += 1
            self._count += 1
            self._numbered += bool(request.header(LOAD_NUMBER))
            if request.header("upgrade").lower() == "websocket":
                writer.write(upgrade(request))
                await websocket.echo(reader, writer)
                return
            wish = self._wish(request)
            await asyncio.sleep(float(wish.get("delay", 0)))
            if "drop" in wish:
                writer.transport.abort()
                return
            stays = request.stays_open() and "close" not in wish
            whole = self._answer(request, wish, self.describe(request, number, writer), stays)
            await drip(writer, whole, float(wish.get("drip", 0)))

    def _wish(self, request: http1.Message) -> dict[str, str]:
        """What the query asks for, and what the pod is told to do; counts the path."""
        place = urlsplit(request.start[1])
        if place.path in self._asked or len(self._asked) < PATHS:
            self._asked[place.path] += 1
        try:
            told = json.loads(self._wishes.read_text())
        except (FileNotFoundError, ValueError):  # not there, or just being written
            told = {}
        return dict(parse_qsl(place.query)) | told.get(place.path, {})

    def _answer(self, request: http1.Message, wish: dict[str, str], content: dict[str, object], stays: bool) -> bytes:
        headers = [("Content-Type", "application/json"), ("X-Pod", str(self._me["pod"]))]
        headers += [] if stays else [("Connection", "close")]
        status = int(wish.get("status", 200))
        if urlsplit(request.start[1]).path == "/healthz" and time.monotonic() < self._ready:
            status = 503
        padding = {"padding": "x" * int(wish["size"])} if "size" in wish else {}
        body = json.dumps(content | padding).encode() + b"\n"
        headers.append((WHOLE, str(zlib.crc32(body))))
        if request.start[0] == "HEAD":
            return http1.encode(f"HTTP/1.1 {status} Head", [*headers, ("Content-Length", str(len(body)))])
        if "chunked" in wish:
            half = len(body) // 2
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:])) + b"0\r\n\r\n"
            return http1.encode(f"HTTP/1.1 {status} Chunked", [*headers, ("Transfer-Encoding", "chunked")], chunks)
        return http1.response(status, body, *headers)


async def drip(writer: asyncio.StreamWriter, whole: bytes, seconds: float) -> None:
    """An answer at once, or in pieces over so many seconds."""
    size = max(1, round(len(whole) * DRIPS / seconds)) if seconds else len(whole)
    for at in range(0, len(whole), size):
        if at:
            await asyncio.sleep(DRIPS)
        writer.write(whole[at : at + size])
        await writer.drain()


def upgrade(request: http1.Message) -> bytes:
    key = request.header("sec-websocket-key")
    headers = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", websocket.accept(key))]
    return http1.encode("HTTP/1.1 101 Switching Protocols", headers)
