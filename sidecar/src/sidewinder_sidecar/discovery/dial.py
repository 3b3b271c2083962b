"""The ways to the operator: a Unix socket on one machine, TLS 1.3 with the sidecar's own certificate in a cluster.

Made by main, used by `channel`. Who we are comes from `main` as a Credentials: discovery knows no identity.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from typing import Protocol, TypeAlias

PIECE = 65536  # bytes that a reader holds before it stops the other end
ADDRESS_SECONDS = 4.0  # until one address is reached: a Service of two families has two, one of them perhaps unrouted
HANDSHAKE_SECONDS = 20.0  # who is reached has a queue when all come at once; leaving it would mean its end once more
SHUTDOWN_SECONDS = 1.0  # for the other end's goodbye; nothing is lost without it

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Addresses: TypeAlias = list[str]


class Credentials(Protocol):
    """What identity is to a connection."""

    async def ready(self) -> None:
        """Return once there is a certificate that can be shown."""

    def context(self) -> ssl.SSLContext:
        """For one connection: our certificate, and whom we trust. Raises OSError, with the file in its text."""

    def on_refused(self, why: str) -> None:
        """The operator does not take our certificate."""


class Dial(Protocol):
    """A way to the operator. `str` of it names the place in messages."""

    async def ready(self) -> None:
        """Return once it makes sense to connect."""

    async def connect(self) -> Streams:
        """A connection. Raises OSError; bounded by the caller."""

    def on_refused(self, why: str) -> None:
        """The operator has refused who we are."""


class Unix:
    """The socket that `sidewinder up` made for this sidecar; whoever may open it is this sidecar."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __str__(self) -> str:
        return self.path

    async def ready(self) -> None:
        """At once."""

    async def connect(self) -> Streams:
        """A connection. Raises OSError."""
        return await asyncio.open_unix_connection(self.path, limit=PIECE)

    def on_refused(self, why: str) -> None:
        """Nothing that could be renewed."""


class Tls:
    """The operator's Service by name. Each connection resolves it anew and shows the newest certificate."""

    def __init__(self, host: str, port: int, credentials: Credentials) -> None:
        self.host = host
        self.port = port
        self._credentials = credentials
        self._lookup: asyncio.Future[Addresses] | None = None

    def __str__(self) -> str:
        return f"https://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def ready(self) -> None:
        """Once there is a certificate."""
        await self._credentials.ready()

    def on_refused(self, why: str) -> None:
        """Have the certificate renewed."""
        self._credentials.on_refused(why)

    async def connect(self) -> Streams:
        """To the first address that answers. Raises OSError."""
        context = self._credentials.context()
        fault: OSError = OSError(f"{self.host} has no address")
        for address in await self._addresses():
            try:
                return await self._open(address, context)
            except TimeoutError:
                fault = OSError(f"{address} did not answer within {ADDRESS_SECONDS:g} s")
            except ssl.SSLError:
                raise  # somebody is there, and not whom we look for
            except OSError as why:
                fault = why
        raise fault

    async def _open(self, address: str, context: ssl.SSLContext) -> Streams:
        """TCP, then TLS. The address is a number: with a name, the loop would keep four threads to look it up."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        reached = socket.socket(family, socket.SOCK_STREAM)
        try:
            reached.setblocking(False)
            reached.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connecting = asyncio.get_running_loop().sock_connect(reached, (address, self.port))
            await asyncio.wait_for(connecting, ADDRESS_SECONDS)
            return await asyncio.open_connection(
                sock=reached,
                limit=PIECE,
                ssl=context,
                server_hostname=self.host,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except BaseException:
            reached.close()
            raise

    async def _addresses(self) -> Addresses:
        """One lookup at a time: a resolver that hangs must not collect threads."""
        if self._lookup is None:
            loop = asyncio.get_running_loop()
            self._lookup = loop.create_future()
            self._lookup.add_done_callback(self._forget)
            # A daemon, not the loop's executor: the process may end while a name server does not answer.
            words = (loop, self._lookup, self.host, self.port)
            threading.Thread(target=_resolve, args=words, name="resolve", daemon=True).start()
        return await asyncio.shield(self._lookup)

    def _forget(self, done: asyncio.Future[Addresses]) -> None:
        self._lookup = None
        if not done.cancelled():
            done.exception()  # seen: whoever waited may have left


def _resolve(loop: asyncio.AbstractEventLoop, told: asyncio.Future[Addresses], host: str, port: int) -> None:
    fault: OSError | None = None
    addresses: Addresses = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(address[0]) for *_, address in found]
    except OSError as why:
        fault = OSError(f"the name cannot be resolved: {why.strerror or why}")
    except UnicodeError:  # a label that is too long for the name system
        fault = OSError("no name that can be resolved")

    def tell() -> None:
        if told.done():
            return
        if fault is not None:
            told.set_exception(fault)
        else:
            told.set_result(addresses)

    try:
        loop.call_soon_threadsafe(tell)
    except RuntimeError:
        pass  # the loop is closed: the process ends
