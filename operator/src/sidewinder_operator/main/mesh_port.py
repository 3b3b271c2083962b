"""The port that sidecars and other replicas come to: enrolment, discovery, acknowledgements, over TLS 1.3. Run by
`process`.

One connection carries one request, which for a stream is hours long. Until that request's head has come a connection
counts as a stranger's (`strangers`): there are few of those at once and none for long, so that whoever only connects
takes neither memory nor handshakes from those who have something to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import select
import socket
import ssl
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from sidewinder_operator.main.strangers import Crowded, Strangers

log = logging.getLogger("sidewinder.mesh_port")

HANDSHAKE_SECONDS = 10.0  # four segments; a node that is short of processor time takes longer than a network
HEAD_SECONDS = 10.0  # from the handshake to the end of the request's head
LOOK_SECONDS = 0.25  # how soon a stranger who has gone again makes room
GOODBYE_SECONDS = 1.0  # for the other end's close_notify
BACKLOG = 1024
SPREAD_SECONDS = 20.0  # connections that must end are ended over so long: they all come back
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class MeshPort:
    """One listening port. `context` is kept for good: whoever made it hands each handshake to the newest."""

    def __init__(
        self,
        application: web.Application,
        context: ssl.SSLContext,
        address: str,
        port: int,
        strangers: Strangers | None = None,
    ) -> None:
        application.middlewares.append(self._meet)
        self._application = application
        self._context = context
        self._place = address, port
        self._bound: list[socket.socket] = []
        self._strangers = strangers or Strangers()
        self._met: dict[web.RequestHandler, asyncio.Event] = {}  # connections whose request has not come
        self._open: dict[web.RequestHandler, asyncio.Transport] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.address: tuple[str, int] | None = None  # where it serves
        # how it goes
        self.connections = 0
        self.failures = 0  # handshakes that failed, and strangers who said nothing

    def bind(self) -> None:
        """Takes the port; nobody can connect before `run`. Raises OSError."""
        self._bound = bind(*self._place)

    def release(self) -> None:
        """Gives it back, unused."""
        for each in self._bound:
            each.close()
        self._bound = []

    async def run(self) -> None:
        """Serves until cancelled. Raises OSError when the port cannot be had."""
        if not self._bound:
            self.bind()
        listening, self._bound = self._bound, []
        # A stream ends when its handler does: nothing lingers for a body that never ends.
        runner = web.AppRunner(
            self._application, access_log=None, lingering_time=0, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        assert runner.server is not None
        try:
            for each in listening:
                each.listen(BACKLOG)
            self.address = listening[0].getsockname()[:2]
            log.info("discovery port on %s:%d", *self.address)
            async with asyncio.TaskGroup() as group:
                for each in listening:
                    group.create_task(self._accept(each, runner.server))
        finally:
            self.address = None
            for each in listening:
                each.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await runner.cleanup()

    async def _accept(self, listening: socket.socket, server: web.Server) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                taken, peer = await loop.sock_accept(listening)
            except OSError as fault:  # no descriptors left, or a connection that went away meanwhile
                log.warning("a connection cannot be taken: %s", fault.strerror or fault)
                await asyncio.sleep(0.1)
                continue
            task = loop.create_task(self._admit(taken, peer[0], server))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _admit(self, taken: socket.socket, address: str, server: web.Server) -> None:
        """In its turn."""
        try:
            await self._strangers.enter(address)
        except BaseException as why:
            taken.close()
            if isinstance(why, Crowded):
                self.failures += 1
                return
            raise
        try:
            if _is_gone(taken):  # while it waited: a handshake with nobody would keep those waiting who are here
                self.failures += 1
                taken.close()
            else:
                await self._begin(taken, server())
        finally:
            self._strangers.leave(address)

    async def _begin(self, taken: socket.socket, protocol: web.RequestHandler) -> None:
        """The handshake and the wait for the request's head; what follows is aiohttp's."""
        met = self._met[protocol] = asyncio.Event()
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                taken,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=GOODBYE_SECONDS,
            )
            try:
                await _heard(met, transport)
                self.connections += 1
            except BaseException:
                transport.abort()
                raise
        except (OSError, TimeoutError):  # ssl.SSLError is an OSError
            self.failures += 1
        finally:
            del self._met[protocol]

    @web.middleware
    async def _meet(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Around every request: its connection is not a stranger's any more, and ends with it."""
        protocol, transport = request.protocol, request.transport
        if (met := self._met.get(protocol)) is not None:
            met.set()
        if transport is not None:
            self._open[protocol] = transport
        try:
            response = await handler(request)
        except web.HTTPException as fault:  # of the router: no such page, no such method
            response = web.json_response({"error": fault.reason}, status=fault.status)
        finally:
            self._open.pop(protocol, None)
        if not response.prepared:
            response.force_close()
        return response

    def end(self, stays: Callable[[asyncio.Transport], bool]) -> None:
        """Ends the connections that may not stay, one after the other."""
        loop = asyncio.get_running_loop()
        for transport in [each for each in self._open.values() if not stays(each)]:
            loop.call_later(random.uniform(0, SPREAD_SECONDS), transport.abort)


def _is_gone(taken: socket.socket) -> bool:
    """Whether the other end has closed, whatever it sent before."""
    look = select.poll()
    look.register(taken, select.POLLRDHUP)
    return bool(look.poll(0))


async def _heard(met: asyncio.Event, transport: asyncio.Transport) -> None:
    """Raises TimeoutError where no request comes, ConnectionError where the connection goes away first."""
    until = time.monotonic() + HEAD_SECONDS
    while time.monotonic() < until:
        try:
            await asyncio.wait_for(met.wait(), LOOK_SECONDS)
            return
        except TimeoutError:
            if transport.is_closing():
                raise ConnectionResetError("closed before a request came") from None
    raise TimeoutError


def bind(address: str, port: int) -> list[socket.socket]:
    """Sockets bound to it; to all addresses of both families where `address` is empty. Raises OSError."""
    with contextlib.ExitStack() as undo:
        opened = []
        for family, place in _places(address):
            made = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind((place, port))
            port = made.getsockname()[1]
            opened.append(made)
        undo.pop_all()
        return opened


def _places(address: str) -> list[tuple[socket.AddressFamily, str]]:
    if address:
        return [(socket.AF_INET6 if ":" in address else socket.AF_INET, address)]
    six = [(socket.AF_INET6, "::")] if _has_six() else []
    return [(socket.AF_INET, "0.0.0.0"), *six]


def _has_six() -> bool:
    """Whether this host speaks IPv6 at all: a pod of an IPv4 cluster may have no such family."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True
