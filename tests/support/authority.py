"""An operator over TLS: signs what is asked for, as a test has it, and speaks discovery with whoever has a certificate.

The trust, the leaves and the server's context are the operator's own code; who asks is a token in a table.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority import sign
from sidewinder_operator.authority.credentials import Credentials
from sidewinder_sidecar.settings import Settings
from tests.support.discovery import Server
from tests.support.operator import Operator

DOMAIN = "cluster.local"
POD = sign.Identity(DOMAIN, "shop", "reviews", "5f3c1a52-0000-4000-8000-000000000001")
SPIFFE_ID = f"spiffe://{DOMAIN}/ns/shop/sa/reviews"
TOKEN = "a-token.of-the.pod"
OPERATOR = sign.Identity(DOMAIN, "sidewinder-system", "sidewinder-operator")
DAY = dt.timedelta(hours=24)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def trust() -> roots.Trust:
    """A new root."""
    return roots.Trust(roots.create(DOMAIN, now()))


def request() -> tuple[str, bytes]:
    """A key in PEM, and a request signed by it."""
    key = ec.generate_private_key(ec.SECP256R1())
    asked = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), asked.public_bytes(serialization.Encoding.PEM)


def issued(
    by: roots.Trust, who: sign.Identity = POD, begins: dt.datetime | None = None, life: dt.timedelta = DAY
) -> tuple[str, str]:
    """A key and its certificate."""
    key, asked = request()
    return key, sign.sign(asked, who, by, begins or now(), life).decode()


class Place:
    """Where a pod's files are, as its volumes would be mounted."""

    def __init__(self, folder: Path) -> None:
        self.identity, self.token, self.bundle = folder / "identity", folder / "token", folder / "bundle.pem"
        self.token.write_text(TOKEN + "\n")

    def mount(self, *trusted: roots.Trust) -> None:
        """As the kubelet does: the file is another one at once."""
        beside = self.bundle.with_suffix(".new")
        beside.write_bytes(b"".join(each.pem() for each in trusted))
        beside.rename(self.bundle)

    def keep(self, by: roots.Trust, **more: Any) -> None:
        """What an earlier process had enrolled."""
        key, certificate = issued(by, **more)
        self.identity.mkdir(exist_ok=True)
        for name, content in (("key", key), ("certificate", certificate), ("bundle", by.pem().decode())):
            (self.identity / f"{name}.pem").write_text(content)

    def settings(self, url: str = "https://localhost:1", **more: Any) -> Settings:
        paths = {name: str(getattr(self, name)) for name in ("identity", "token", "bundle")}
        pod = {"pod_name": "reviews-1", "pod_namespace": POD.namespace, "pod_uid": POD.name}
        return Settings(**({"discovery": url} | paths | pod | more))

    def environment(self, url: str) -> dict[str, str]:
        """Variables without their prefix."""
        told = self.settings(url)
        names = ("discovery", "identity", "token", "bundle", "pod_name", "pod_namespace", "pod_uid")
        return {name.upper(): getattr(told, name) for name in names}


Answer = tuple[int, dict[str, str], dict[str, Any] | str]


class _Rewound:
    """A reader whose head was read already."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader) -> None:
        self._head, self._reader = head, reader

    async def readuntil(self, separator: bytes) -> bytes:
        head, self._head = self._head, b""
        return head or await self._reader.readuntil(separator)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


class _TlsServer(Server):
    """Enrolments to `enrol`, everything else to the scripts."""

    authority: Authority

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"POST /enrol "):
                await self.authority.enrol(head, reader, writer)
            elif not writer.get_extra_info("peercert"):
                writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
            else:
                self.authority.shown.append(writer.get_extra_info("peercert")["serialNumber"].lower())
                await self._serve(_Rewound(head, reader), writer)  # type: ignore[arg-type]
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            writer.close()
            self._tasks.discard(task)


class Authority(Operator):
    """`url` is where it is. `answer` may be replaced; `renew` gives the server another certificate."""

    def __init__(self, names: tuple[str, ...] = ("localhost",)) -> None:
        super().__init__("")
        self.trust = trust()
        self.life = DAY
        self.names = names
        self.asked: list[tuple[str, dict[str, str]]] = []  # path and headers
        self.shown: list[str] = []  # serials of the certificates on discovery
        self.answer: Callable[[bytes], Answer] = self.signed
        self.hang = False
        self.port = 0
        self.server = _TlsServer(self.script)
        self.server.authority = self

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def signed(self, body: bytes) -> Answer:
        """What the real one would say."""
        if self.asked[-1][1].get("authorization") != f"Bearer {TOKEN}":
            return 401, {}, {"error": "the token is not one of a pod"}
        certificate = sign.sign(json.loads(body)["request"].encode(), POD, self.trust, now(), self.life)
        return 200, {}, {"certificate": certificate.decode(), "bundle": self.trust.pem().decode()}

    async def enrol(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *rows = head[:-4].decode().split("\r\n")
        headers = {row.partition(":")[0].lower(): row.partition(":")[2].strip() for row in rows}
        self.asked.append((line.split()[1], headers))
        body = await reader.readexactly(int(headers["content-length"]))
        if self.hang:
            await asyncio.sleep(60)
        status, more, told = self.answer(body)
        raw = (told if isinstance(told, str) else json.dumps(told)).encode()
        fields = "".join(f"{name}: {value}\r\n" for name, value in more.items())
        writer.write(f"HTTP/1.1 {status} Told\r\ncontent-length: {len(raw)}\r\n{fields}\r\n".encode() + raw)
        await writer.drain()

    async def open(self) -> None:
        """Serve on a free port of loopback."""
        credentials = Credentials(OPERATOR, self.names)
        credentials.step(self.trust, now())
        self.credentials = credentials
        serving = await asyncio.start_server(self.server.meet, "127.0.0.1", self.port, ssl=credentials.server)
        self.server._server = serving
        self.port = serving.sockets[0].getsockname()[1]

    def rotate(self, to: roots.Trust) -> None:
        """Sign, serve and trust with this from now on."""

        def change() -> None:
            self.trust = to
            self.credentials.step(to, now())

        self.loop.call_soon_threadsafe(change)


@contextmanager
def authority(
    port: int = 0, names: tuple[str, ...] = ("localhost",), by: roots.Trust | None = None
) -> Iterator[Authority]:
    """Serves from a thread while the block runs."""
    one = Authority(names)
    one.port = port
    one.trust = by or one.trust
    thread = threading.Thread(target=one.loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(one.open(), one.loop).result(5)
    try:
        yield one
    finally:
        asyncio.run_coroutine_threadsafe(one.server.close(), one.loop).result(5)
        one.loop.call_soon_threadsafe(one.loop.stop)
        thread.join(5)
        one.loop.close()
