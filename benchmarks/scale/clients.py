"""Many discovery clients in one process: the sidecar's own stream over mTLS, each with a certificate, without a proxy.

Started by `bench` with a file that says who they are; prints a JSON line whenever something was seen:
`{"seen": text, "count": how many clients, "first": …, "last": time.monotonic()}`, `{"connected": n}`, `{"applied": n}`.
On stdin comes what to look for: `{"resource": prefix of a name, "text": in its body}`.
A client's configuration is applied by looking at it; the time is taken when its acknowledgement is about to be sent.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import ssl
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.sign import Identity, leaf
from sidewinder_sidecar.discovery.dial import PIECE, Streams
from sidewinder_sidecar.discovery.stream import Apply, Discovery
from sidewinder_sidecar.snapshot import Resource, encode, stream

TELL_SECONDS = 0.05


class Orders(msgspec.Struct):
    """Who they are, and where the operator is. `wants`: keys for each pod. `at_once`: those not served yet."""

    pods: list[tuple[str, str]]  # uid and namespace
    wants: list[list[str]]
    secret: dict[str, str]
    port: int
    name: str
    at_once: int


class Look(msgspec.Struct):
    """What counts as seen: a resource whose name begins so, with this in its canonical bytes."""

    resource: str
    text: str


class Here:
    """The way to the operator's port on this machine, under the name that its certificate has."""

    def __init__(self, name: str, port: int, context: ssl.SSLContext) -> None:
        self._name = name
        self._port = port
        self._context = context

    async def ready(self) -> None:
        """At once."""

    async def connect(self) -> Streams:
        """A connection. Raises OSError."""
        return await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._context, server_hostname=self._name, limit=PIECE
        )

    def on_refused(self, why: str) -> None:
        """Nobody can renew it."""
        logging.error("refused: %s", why)


class Clients:
    """All of them, and what they have seen."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.look = Look("", "")
        self.seen: dict[int, float] = {}
        self.applied = 0
        self.streams: list[Discovery] = []
        self._told = ""
        self._gate = asyncio.Semaphore(orders.at_once)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._tell())
            with tempfile.TemporaryDirectory() as folder:
                contexts = self._contexts(Path(folder))
            for number, context in enumerate(contexts):
                await self._gate.acquire()
                one = Discovery(Here(self.orders.name, self.orders.port, context), self._applying(number))
                self.streams.append(one)
                group.create_task(one.run())

    def _contexts(self, folder: Path) -> list[ssl.SSLContext]:
        now = dt.datetime.now(dt.UTC)
        trust = roots.load({name: text.encode() for name, text in self.orders.secret.items()}, now)
        key = ec.generate_private_key(ec.SECP256R1())
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        found = []
        for uid, namespace in self.orders.pods:
            shown = leaf(key.public_key(), Identity("cluster.local", namespace, "default", uid), trust, now)
            (folder / "both.pem").write_bytes(secret + roots.pem(shown))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.load_verify_locations(cadata=trust.pem().decode())
            context.load_cert_chain(folder / "both.pem")
            found.append(context)
        return found

    def _applying(self, number: int) -> Apply:
        wanted = False

        async def apply(resources: dict[str, Resource]) -> None:
            nonlocal wanted
            self.applied += 1
            if number not in self.seen and self._is_there(resources):
                self.seen[number] = time.monotonic()
            if not wanted:
                wanted = True
                self._gate.release()
                asyncio.get_running_loop().call_soon(self._want, number)

        return apply

    def _want(self, number: int) -> None:
        channel = self.streams[number]._channel
        if channel is not None and self.orders.wants[number]:
            channel.post(stream.encode(stream.Want(tuple(self.orders.wants[number]))))

    def _is_there(self, resources: dict[str, Resource]) -> bool:
        look = self.look
        found = (
            name for name in resources if look.resource and name.startswith(look.resource) and "/inbound" not in name
        )
        name = next(found, None)
        return name is not None and look.text.encode() in encode(resources[name])

    async def _listen(self) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            self.look = msgspec.json.decode(line, type=Look)
            self.seen.clear()
            self.applied = 0
        raise SystemExit(0)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            times = sorted(self.seen.values())
            told = msgspec.json.encode(
                {
                    "resource": self.look.resource,
                    "text": self.look.text,
                    "connected": sum(each.connected for each in self.streams),
                    "held": sum(bool(each.held.versions) for each in self.streams),
                    "resources": sum(len(each.held.versions) for each in self.streams),
                    "applied": self.applied,
                    "seen": times,
                }
            ).decode()
            if told != self._told:
                self._told = told
                print(told, flush=True)


if __name__ == "__main__":
    logging.getLogger("sidewinder").setLevel(logging.ERROR)
    uvloop.run(Clients(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Orders)).run())
