"""A storm of everything that can happen to a request, against a sidecar with limits: each count is back to nothing."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.sidecar import Sidecar, Snapshot, sidecar, snapshot

pytestmark = pytest.mark.live

SERVICE = "shop/reviews:9080"
RETRY = {"attempts": 2, "codes": [503], "conditions": ["ConnectFailure", "Reset", "Timeout"], "backoff": 0.005}
ROOM = 60
LIMITS = {
    "whole": {"requests": ROOM, "pending": ROOM, "connections": ROOM},
    "endpoint": {"requests": ROOM // 2, "pending": ROOM // 2, "connections": ROOM // 2},
}
CALLERS, EACH = 50, 12
MOODS = ("ok", "reset", "half", "early", "inform", "late", "garbage", "hang", "ill", "upgrade", "close", "pieces")


class Application:
    """Does what the path says."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                mood = head.split(b" ", 2)[1].decode().strip("/")
                self.asked[mood] += 1
                if not await self._answer(mood, head, reader, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    async def _answer(self, mood: str, head: bytes, reader: asyncio.StreamReader, writer: Any) -> bool:
        """Whether the connection goes on."""
        if mood == "early":  # an answer before the body
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        if b"content-length: 5" in head.lower():
            await reader.readexactly(5)
        match mood:
            case "early":
                return True
            case "reset":
                return False
            case "half":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf")
                await writer.drain()
                return False
            case "garbage":
                writer.write(b"what?\r\n\r\n")
            case "hang":
                await reader.read(1)
                return False
            case "gate":
                await self.gate.wait()
            case "late":
                await asyncio.sleep(0.05)
            case "inform":
                writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            case "ill":
                writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nill")
                return True
            case "pieces":
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
                await asyncio.sleep(0.01)
                writer.write(b"1\r\nb\r\n0\r\n\r\n")
                return True
            case "upgrade":
                writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                while data := await reader.read(100):
                    writer.write(data)
                return False
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return mood != "close"


async def call(port: int, mood: str, chance: random.Random) -> None:
    """One caller, who may leave at any moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = chance.random() < 0.4 and mood != "upgrade"
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" if mood == "upgrade" else b""
    length = b"Content-Length: 5\r\n" if body else b""
    method = chance.choice((b"GET", b"PUT", b"POST"))
    writer.write(b"%b /%b HTTP/1.1\r\nHost: reviews\r\n%b%b\r\n" % (method, mood.encode(), upgrade, length))
    if body:
        await asyncio.sleep(chance.random() * 0.02)
        writer.write(b"hello" if chance.random() < 0.7 else b"he")
    try:
        await asyncio.wait_for(reader.read(), chance.choice((0.001, 0.02, 0.1, 1.0)))
    except (TimeoutError, ConnectionError):
        pass
    writer.transport.abort() if chance.random() < 0.5 else writer.close()


async def storm(port: int, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(EACH):
        await call(port, chance.choice(MOODS), chance)


def told(*ports: int) -> Snapshot:
    to = [{"backend": SERVICE}]
    patient = {"name": "patient", "matches": [{"path": {"type": "Exact", "value": "/gate"}}], "backends": to}
    hasty = {"name": "hasty", "backends": to, "retry": RETRY, "backend_timeout": 0.25}
    made = snapshot(ports[0], rules=[patient, hasty])
    made[f"endpoints/{SERVICE}"]["endpoints"] = [
        {"uid": str(number), "address": "127.0.0.1", "port": port} for number, port in enumerate(ports)
    ]
    breaker = {"consecutive": 3, "open_seconds": 0.1, "max_open_seconds": 0.3, "max_ejected_percent": 50}
    made[f"backend/{SERVICE}"].update(concurrency=LIMITS, breaker=breaker)
    return made


def row(proxy: Sidecar) -> dict[str, Any]:
    [found] = proxy.ask(proxy.port("admin"), "/breakers").json()["backends"]
    return dict(found)


async def answers(port: int, path: bytes, count: int) -> Counter[bytes]:
    """The statuses that so many get who ask at once."""

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /%b HTTP/1.1\r\nHost: reviews\r\nConnection: close\r\n\r\n" % path)
        answer = await reader.read()
        writer.close()
        return answer.split(b" ", 2)[1]

    return Counter(await asyncio.gather(*[ask() for _ in range(count)]))


async def until(proxy: Sidecar, holds: Callable[[dict[str, Any]], bool]) -> None:
    await asyncio.to_thread(proxy.wait, lambda: holds(row(proxy)))


async def weather(proxy: Sidecar, apps: list[Application]) -> None:
    port = await asyncio.to_thread(proxy.ready)
    await asyncio.gather(*[storm(port, seed) for seed in range(CALLERS)])
    asked = apps[0].asked + apps[1].asked
    assert set(MOODS) <= set(asked), "each was met"
    await until(proxy, lambda row: row["concurrency"]["requests"] == 0)
    ejections = row(proxy)["ejections"]
    assert ejections > 0
    while row(proxy)["open"]:  # their probes
        await answers(port, b"ok", 1)
    # as many as there is room for: one count that is left over would have one of them refused
    asking = asyncio.create_task(answers(port, b"gate", ROOM))
    await until(proxy, lambda row: row["concurrency"]["requests"] == ROOM)
    assert (await answers(port, b"ok", 1)) == {b"503": 1}
    for app in apps:
        app.gate.set()
    assert await asking == {b"200": ROOM}
    await until(proxy, lambda row: row["concurrency"]["requests"] == 0)


def test_after_a_storm_all_the_room_is_there_again(tmp_path: Path) -> None:
    async def run() -> None:
        apps = [Application(), Application()]
        servers = [await asyncio.start_server(app.serve, "127.0.0.1", 0) for app in apps]
        with sidecar(tmp_path, told(*[server.sockets[0].getsockname()[1] for server in servers])) as proxy:
            await weather(proxy, apps)
            assert "Traceback" not in proxy.errors.read_text()
        for server in servers:
            server.close()

    asyncio.run(asyncio.wait_for(run(), 60))
