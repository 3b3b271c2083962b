"""A pod's side of enrolment and of mutual TLS, by hand: signing requests, raw HTTP over TLS, a discovery client."""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sidewinder_sidecar.snapshot import stream

SERVER = "sidewinder-operator.system.svc"
CLOSED = (ssl.SSLError, ConnectionError)  # an alert, a reset or an end, as the system has it
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Answer(NamedTuple):
    """What came back over one connection."""

    status: int
    headers: dict[str, str]
    body: Any  # of JSON, else bytes


def request(key: Key) -> str:
    """A PEM signing request."""
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def forged() -> str:
    """A request whose key was replaced after it was signed."""
    mine, theirs = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    points = [
        key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        for key in (mine, theirs)
    ]
    signed = x509.load_pem_x509_csr(request(mine).encode()).public_bytes(serialization.Encoding.DER)
    made = x509.load_der_x509_csr(signed.replace(*points))
    return made.public_bytes(serialization.Encoding.PEM).decode()


def trusting(bundle: str, chain: str = "", key: Key | None = None) -> ssl.SSLContext:
    """A client's context: whom it trusts and, given a chain, who it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=bundle)
    if key is not None:
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "leaf.pem")
            path.write_bytes(chain.encode() + text)
            context.load_cert_chain(path)
    return context


async def exchange(port: int, tls: ssl.SSLContext | None, sent: bytes, server: str = SERVER) -> Answer:
    """Bytes there, and the whole answer, over a connection of its own. Raises one of CLOSED where there is none."""
    name = {"ssl": tls, "server_hostname": server} if tls is not None else {}
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **name)
    try:
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.transport.abort()
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head:
        raise ConnectionResetError("closed without an answer")
    status, *rows = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
    told = json.loads(body) if "json" in headers.get("content-type", "") else body
    return Answer(int(status.split()[1]), headers, told)


async def enrol(port: int, tls: ssl.SSLContext | None, token: str | None, asked: str, server: str = SERVER) -> Answer:
    """POST /enrol with this token and signing request."""
    body = json.dumps({"request": asked}).encode()
    proof = f"Authorization: Bearer {token}\r\n" if token is not None else ""
    head = f"POST /enrol HTTP/1.1\r\nHost: operator\r\n{proof}Content-Length: {len(body)}\r\n\r\n"
    return await exchange(port, tls, head.encode() + body, server)


class Stream:
    """One discovery stream over TLS; `first` is its first transaction's resources."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int, tls: ssl.SSLContext, server: str = SERVER) -> Stream | Answer:
        """The stream, or why it was refused."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=server)
        writer.write(b"POST /discovery HTTP/1.1\r\nHost: operator\r\nTransfer-Encoding: chunked\r\n\r\n")
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode()
        status = int(head.split()[1])
        if status != 200:
            rest = await asyncio.wait_for(reader.read(), 10)
            writer.transport.abort()
            return Answer(status, {}, json.loads(rest))
        made = cls(reader, writer)
        made.say(stream.Greeting(stream.Hello(epoch=1, has={})))
        return made

    def say(self, message: stream.ToServer) -> None:
        line = stream.encode(message)
        self._writer.write(b"%x\r\n%b\r\n" % (len(line), line))

    async def hear(self) -> Any:
        """The next message; None at the end. One chunk is one message or more: those of a chunk come together."""
        while True:
            try:
                size = int(await asyncio.wait_for(self._reader.readuntil(b"\r\n"), 10), 16)
                chunk = (await self._reader.readexactly(size + 2))[:-2]
            except (asyncio.IncompleteReadError, OSError):
                return None
            if not chunk:
                return None
            return [stream.to_client(line) for line in chunk.splitlines()]

    async def first(self) -> set[str]:
        """Takes a transaction and acknowledges it; the names of what it sets."""
        names: set[str] = set()
        state = ""
        while (messages := await self.hear()) is not None:
            for message in messages:
                match message:
                    case stream.Begin(_, state):
                        pass
                    case stream.Set(name):
                        names.add(name)
                    case stream.Commit(number):
                        self.say(stream.Ack(number, state))
                        return names
        raise ConnectionResetError("closed before a commit")

    def close(self) -> None:
        self._writer.transport.abort()
