"""The doors for probes, scrapes and people: `/livez` `/readyz` `/metrics` outside, `/config` `/drain` on loopback only.

Started by main, which gives the pages; knows nothing of the proxy. One request a connection, strict and bounded: this
port is no place to be clever, and no stranger's request may cost much.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from http import HTTPStatus
from typing import NamedTuple, TypeAlias

import msgspec

from sidewinder_sidecar.snapshot import Resource, encode

HEAD_BYTES = 8192  # of a request; a probe's is 150
HEAD_SECONDS = 5.0  # for a whole head
SEND_SECONDS = 10.0  # for a scraper to read what it asked for
CONNECTIONS = 64  # at once: a few probes, scrapers and people, and those who wait for the drain (32 at most)
SLICE = 0.005  # seconds of rendering before traffic gets its turn

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/1\.[01]")
_HOST_OF_LOOPBACK = re.compile(rb"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")

# A header's value is shown unless its name sounds like a secret's.
_SECRET_NAME = re.compile(
    r"authorization|cookie|token|secret|password|passwd|api-?key|credential|signature", re.IGNORECASE
)
REDACTED = "[redacted]"


class Page(NamedTuple):
    """An answer. The body comes in pieces, so that a large one is rendered in slices."""

    status: int
    body: Iterable[str]
    type: str = "application/json"


Handler: TypeAlias = Callable[[], "Page | Awaitable[Page]"]
Pages: TypeAlias = dict[tuple[str, str], Handler]  # (method, path) → who answers


class Door:
    """One listening socket with its pages."""

    def __init__(self, pages: Pages, loopback: bool = False) -> None:
        self.pages = pages
        self.loopback = loopback  # only callers who name this machine: a web page cannot reach it by a name of its own
        self.address: tuple[str, int] = ("", 0)
        self._server: asyncio.Server | None = None
        self._open = 0
        self._silent: dict[asyncio.StreamWriter, None] = {}  # who has not asked yet, the oldest first

    async def open(self, address: str, port: int) -> None:
        """Listen. Raises OSError."""
        if self.loopback and not ipaddress.ip_address(address).is_loopback:
            raise ValueError(f"{address} is not loopback")
        # Bound here, not by the loop, which would start four threads to look up what is a number already.
        listening = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.address = listening.getsockname()[:2]
        self._server = await asyncio.start_server(self._serve, sock=listening, limit=HEAD_BYTES)

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= CONNECTIONS or self._makes_room():
                await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # it has gone, or it is too slow: there is nobody to tell
        finally:
            self._open -= 1
            writer.close()

    def _makes_room(self) -> bool:
        """Whoever connects and says nothing gives way: a kubelet asks at once, and ends what gets no answer."""
        oldest = next(iter(self._silent), None)
        if oldest is None:
            return False
        del self._silent[oldest]
        oldest.transport.abort()
        return True

    async def _head(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Raises what the reader raises, and TimeoutError."""
        self._silent[writer] = None
        try:
            return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
        finally:
            self._silent.pop(writer, None)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await self._head(reader, writer)
        except asyncio.LimitOverrunError:
            page, allow = problem(431, f"the head is larger than {HEAD_BYTES} bytes"), ""
        else:
            page, allow = await self._page(head)
        body = await _collected(page.body)
        reason = HTTPStatus(page.status).phrase
        more = f"allow: {allow}\r\n" if allow else ""
        writer.write(
            f"HTTP/1.1 {page.status} {reason}\r\ncontent-type: {page.type}\r\ncontent-length: {len(body)}\r\n"
            f"{more}connection: close\r\ncache-control: no-store\r\n\r\n".encode()
        )
        if not head_only(head if page.status != 431 else b""):
            writer.write(body)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(writer.drain(), SEND_SECONDS)

    async def _page(self, head: bytes) -> tuple[Page, str]:
        line, *rows = head[:-4].split(b"\r\n")
        found = _REQUEST_LINE.fullmatch(line)
        if found is None:
            return problem(400, "the request line is not `METHOD /path HTTP/1.1`"), ""
        fields = {row.partition(b":")[0].lower(): row.partition(b":")[2].strip() for row in rows}
        if b"transfer-encoding" in fields or fields.get(b"content-length", b"0") != b"0":
            return problem(413, "no request here has a body"), ""
        if self.loopback and not _HOST_OF_LOOPBACK.fullmatch(fields.get(b"host", b"localhost").lower()):
            return problem(421, "this port is for this machine: ask for localhost"), ""
        if self.loopback and b"origin" in fields:
            return problem(403, "no web page may ask here"), ""
        method, path = found[1].decode(), found[2].decode().partition("?")[0]
        handler = self.pages.get(("GET" if method == "HEAD" else method, path))
        if handler is not None:
            answer = handler()
            return (answer if isinstance(answer, Page) else await answer), ""
        allowed = [known for known, there in self.pages if there == path]
        if allowed:
            return problem(405, f"{path} is asked with {' or '.join(allowed)}"), ", ".join(allowed)
        return problem(
            404, f"there is no {path[:64]}; there are {', '.join(sorted({there for _, there in self.pages}))}"
        ), ""


def head_only(head: bytes) -> bool:
    """Whether only the head is wanted."""
    return head.startswith(b"HEAD ")


async def _collected(pieces: Iterable[str]) -> bytes:
    """The body, rendered in slices."""
    body = bytearray()
    turn = time.monotonic()
    for piece in pieces:
        body += piece.encode("utf-8", "backslashreplace")
        if time.monotonic() - turn > SLICE:
            await asyncio.sleep(0)
            turn = time.monotonic()
    return bytes(body)


def problem(status: int, detail: str) -> Page:
    """An answer that says why not."""
    return answer(status, {"status": status, "detail": detail})


def answer(status: int, body: object) -> Page:
    """A JSON page."""
    return Page(status, [msgspec.json.encode(body).decode() + "\n"])


def configuration(state: str, source: str, resources: dict[str, Resource]) -> Page:
    """What `/config` shows: every resource in force, secrets redacted."""
    return Page(200, _configuration(state, source, dict(resources)))


def _configuration(state: str, source: str, resources: dict[str, Resource]) -> Iterator[str]:
    yield f'{{"state":{_quoted(state)},"source":{_quoted(source)},"resources":{{'
    for number, name in enumerate(sorted(resources)):
        body = redact(msgspec.json.decode(encode(resources[name])))
        if name.startswith("credentials/") and isinstance(body, dict):
            body["credentials"] = [hidden(each) for each in body.get("credentials", ())]
        yield f"{',' if number else ''}\n{_quoted(name)}:{msgspec.json.encode(body).decode()}"
    yield "\n}}\n"


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def hidden(credential: dict[str, object]) -> dict[str, object]:
    """Whose it is and until when; neither what is shown to others nor what it could be guessed by."""
    return {key: REDACTED if key in ("hash", "plain") else value for key, value in credential.items()}


def redact(body: object) -> object:
    """The same without the values of headers whose names sound like secrets."""
    if isinstance(body, list):
        return [redact(item) for item in body]
    if not isinstance(body, dict):
        return body
    shown = {key: redact(value) for key, value in body.items()}
    if "value" in shown and _SECRET_NAME.search(str(shown.get("name", ""))):
        shown["value"] = REDACTED
    return shown
