"""Whole operator processes in a test's loop, against the fake API server with a small shop in it."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from sidewinder_operator.main.process import Process
from sidewinder_operator.settings import Settings
from tests.support import kubernetes_objects as objects
from tests.support.apiserver import FakeApiServer
from tests.support.clock import eventually

# Below those that the kernel gives to whoever asks for any: nobody takes it by chance until it is used.
_PORTS = itertools.count(12_000 + os.getpid() % 1_000 * 16)


def free_port() -> int:
    """A port that nobody listens on."""
    while True:
        with socket.socket() as probe:
            port = next(_PORTS)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Bench:
    """A server and the operators that run against it."""

    def __init__(self, server: FakeApiServer) -> None:
        self.server = server
        self.running: dict[Process, asyncio.Task[None]] = {}
        server.put(objects.SERVICES, objects.service("reviews"))
        server.put(objects.ROUTES, objects.route("reviews", "reviews", "reviews"))
        self.uid = server.put(objects.PODS, objects.pod("reviews-1", "reviews", "10.0.0.1"))["metadata"]["uid"]
        server.put(objects.SLICES, objects.slice_of("reviews", self.uid, "10.0.0.1"))

    def start(self, **settings: Any) -> Process:
        found = Settings(
            **{
                "namespace": "system",
                "api_server": self.server.url,
                "api_token_file": "",
                "api_authority_file": "",
                "health_address": "127.0.0.1",
                "health_port": 0,
                "address": "127.0.0.1",
                "discovery_port": 0,
                **settings,
            }
        )
        process = Process(found)
        self.running[process] = asyncio.create_task(process.run())
        return process

    async def stop(self, process: Process) -> None:
        process.leave.set()
        await asyncio.wait_for(self.running.pop(process), 10)

    async def served(self, process: Process) -> None:
        await eventually(lambda: process.round is not None and not process.lacking(), 15)

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        found = self.server.get(objects.ROUTES, name, "shop") or {}
        conditions = found.get("status", {}).get("conditions", ())
        return next((each for each in conditions if each["type"] == kind), {})


def bench(work: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        async with FakeApiServer().serving() as server:
            given = Bench(server)
            try:
                await work(given)
            finally:
                for process in [*given.running]:
                    await given.stop(process)

    asyncio.run(asyncio.wait_for(main(), 60))
