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
RESOLVED_SECONDS = 5.0  # for which an address counts while nobody answers there: a name server has other work
LOOKUP_SECONDS = 2.0  # for a name server, where the addresses of the time before can be tried
SHUTDOWN_SECONDS = 1.0  # for the other end's goodbye; nothing is lost without it

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Addresses: TypeAlias = list[str]


class Unreached(OSError):
    """Nobody was reached, so that it has cost nobody anything."""


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
        """A connection. Raises OSError, Unreached where nobody listens; bounded by the caller."""

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
        """A connection. Raises OSError, Unreached where nobody listens."""
        try:
            return await asyncio.open_unix_connection(self.path, limit=PIECE)
        except (FileNotFoundError, ConnectionRefusedError) as why:
            raise Unreached(why.errno, why.strerror) from None

    def on_refused(self, why: str) -> None:
        """Nothing that could be renewed."""


class Tls:
    """The operator's Service by name. Each connection shows the newest certificate and resolves the name anew, but for
    tries that follow each other closely while nobody listens."""

    def __init__(self, host: str, port: int, credentials: Credentials) -> None:
        self.host = host
        self.port = port
        self._credentials = credentials
        self._lookup: asyncio.Future[Addresses] | None = None
        self._known: Addresses = []  # where nobody was reached a moment ago
        self._known_until = 0.0
        self._last: Addresses = []  # that were found; a Service keeps them longer than a name server may be away

    def __str__(self) -> str:
        return f"https://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def ready(self) -> None:
        """Once there is a certificate."""
        await self._credentials.ready()

    def on_refused(self, why: str) -> None:
        """Have the certificate renewed."""
        self._credentials.on_refused(why)

    async def connect(self) -> Streams:
        """To the first address that answers. Raises OSError, Unreached where none does."""
        loop = asyncio.get_running_loop()
        known = self._known if loop.time() < self._known_until else []
        addresses = known or await self._found()
        self._known = []
        fault: OSError = Unreached(f"{self.host} has no address")
        for address in addresses:
            try:
                return await self._open(address)
            except Unreached as why:
                fault = why if isinstance(fault, Unreached) else fault
            except ssl.SSLError:
                raise  # somebody is there, and not whom we look for
            except OSError as why:
                fault = why
        if isinstance(fault, Unreached) and addresses:
            self._known = addresses
            self._known_until = self._known_until if known else loop.time() + RESOLVED_SECONDS
        raise fault

    async def _open(self, address: str) -> Streams:
        """TCP, then TLS. The address is a number: with a name, the loop would keep four threads to look it up."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        reached = socket.socket(family, socket.SOCK_STREAM)
        try:
            reached.setblocking(False)
            reached.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._reach(reached, address)
            return await asyncio.open_connection(
                sock=reached,
                limit=PIECE,
                ssl=self._credentials.context(),
                server_hostname=self.host,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except BaseException:
            reached.close()
            raise

    async def _reach(self, reached: socket.socket, address: str) -> None:
        connecting = asyncio.get_running_loop().sock_connect(reached, (address, self.port))
        try:
            await asyncio.wait_for(connecting, ADDRESS_SECONDS)
        except TimeoutError:
            raise Unreached(f"{address} did not answer within {ADDRESS_SECONDS:g} s") from None
        except OSError as why:
            raise Unreached(why.errno, why.strerror) from None

    async def _found(self) -> Addresses:
        """The addresses of now, or the last ones where they cannot be had. Who answers there is judged by TLS."""
        if not self._last:
            self._last = await self._addresses()
            return self._last
        try:
            self._last = await asyncio.wait_for(self._addresses(), LOOKUP_SECONDS) or self._last
        except OSError:  # TimeoutError is one
            pass
        return self._last

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
