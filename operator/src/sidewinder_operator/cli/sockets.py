"""Discovery's doors on one machine: a Unix socket per sidecar, in a folder of its owner's alone. Used by `up`.

Which socket a stream came through says whose it is. A socket is bound with mode 0600 from its first moment on.
"""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from aiohttp import web

BACKLOG = 16  # one sidecar, and its next connection


def bind(path: Path) -> socket.socket:
    """A listening Unix socket that only its owner may connect to."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        made.bind(str(path))
    finally:
        os.umask(before)
    made.listen(BACKLOG)
    made.setblocking(False)
    return made


class Sockets:
    """Workload → socket, all served by one runner."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runner: web.AppRunner | None = None
        self._names: dict[str, str] = {}  # path → workload
        self._sites: dict[str, tuple[Path, asyncio.Task[web.SockSite]]] = {}
        self._count = 0

    def serve(self, runner: web.AppRunner) -> None:
        """What answers on them."""
        self._runner = runner

    def name(self, request: web.Request) -> str | None:
        """The workload whose socket a request came through."""
        if request.transport is None:
            return None
        path = request.transport.get_extra_info("sockname")
        return self._names.get(path if isinstance(path, str) else "")

    def open(self, workload: str) -> Path:
        """The workload's socket; it may be connected to at once."""
        path = self._folder / f"{self._count}.sock"  # short: a socket's path has at most 107 bytes
        self._count += 1
        self._names[str(path)] = workload
        self._sites[workload] = (path, asyncio.create_task(self._start(bind(path))))
        return path

    async def close(self, workload: str) -> None:
        """Takes the workload's socket away."""
        if (found := self._sites.pop(workload, None)) is not None:
            path, starting = found
            await (await starting).stop()
            path.unlink(missing_ok=True)
            del self._names[str(path)]

    async def close_all(self) -> None:
        """Takes all of them away."""
        for workload in [*self._sites]:
            await self.close(workload)

    async def _start(self, bound: socket.socket) -> web.SockSite:
        assert self._runner is not None
        site = web.SockSite(self._runner, bound)
        await site.start()
        return site
