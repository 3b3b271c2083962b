"""HTTP/1.1 messages over asyncio streams, as small as the test applications need it.

Called by echo.py, load.py, spans.py and webhook.py; calls nothing. It is deliberately not the proxy's codec: what
tests the proxy must not share its mistakes. It is strict, so that a message that the proxy damaged is an error
here.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus

# A head of 64 KiB is more than any server accepts by default, so nothing that tests send is refused here first.
HEAD_LIMIT = 65536
# Bodies are kept whole to be checked; nothing the tests send is larger.
BODY_LIMIT = 64 << 20
REASONS = {status.value: status.phrase for status in HTTPStatus}


class Damaged(Exception):
    """The bytes are no HTTP/1.1 message; the text says which part."""


class Ended(Exception):
    """The other side closed the connection where a message would have begun."""


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """A request or a response. Headers keep their order, case and repetition."""

    start: tuple[str, str, str]
    headers: list[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str, default: str = "") -> str:
        """The first header of that name, whatever its case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), default)

    def stays_open(self) -> bool:
        return self.header("connection").lower() != "close" and "HTTP/1.0" not in self.start


def parse_head(data: bytes) -> Message:
    """The start line and headers, up to and without the empty line."""
    first, *lines = data.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) == 2 and words[0].startswith("HTTP/"):
        words.append("")  # a status line without a reason
    if len(words) != 3:
        raise Damaged(f"start line {first!r}")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Damaged(f"header line {line!r}")
        headers.append((name, value.strip(" \t")))
    return Message((words[0], words[1], words[2]), headers)


async def read_head(reader: asyncio.StreamReader) -> Message:
    try:
        data = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise Damaged(f"closed within a head, after {len(error.partial)} bytes") from None
        raise Ended("closed") from None
    except asyncio.LimitOverrunError:
        raise Damaged(f"head above {HEAD_LIMIT} bytes") from None
    return parse_head(data[:-4])


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while True:
        line = await reader.readuntil(b"\r\n")
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            raise Damaged(f"chunk size {line!r}") from None
        if size == 0:
            while await reader.readuntil(b"\r\n") != b"\r\n":  # trailers
                pass
            return b"".join(parts)
        parts.append(await reader.readexactly(size))
        if await reader.readexactly(2) != b"\r\n":
            raise Damaged("a chunk is longer than its size says")


async def read_body(reader: asyncio.StreamReader, head: Message, *, until_close: bool = False) -> bytes:
    """The body as the head frames it; `until_close` for a response that says nothing about its length."""
    try:
        if "chunked" in head.header("transfer-encoding").lower():
            return await _read_chunks(reader)
        length = head.header("content-length")
        if length:
            if not length.isdigit() or int(length) > BODY_LIMIT:
                raise Damaged(f"content-length {length!r}")
            return await reader.readexactly(int(length))
        return await reader.read(-1) if until_close else b""
    except asyncio.IncompleteReadError as error:
        raise Damaged(f"closed within a body, after {len(error.partial)} bytes of a part") from None


async def read_request(reader: asyncio.StreamReader) -> Message:
    head = await read_head(reader)
    return dataclasses.replace(head, body=await read_body(reader, head))


async def read_response(reader: asyncio.StreamReader, method: str = "GET") -> Message:
    """The final response; interim ones (1xx) are passed over, except that 101 is final."""
    while True:
        head = await read_head(reader)
        status = head.start[1]
        if not (status.isdigit() and len(status) == 3):
            raise Damaged(f"status {status!r}")
        if status[0] != "1" or status == "101":
            break
    if method == "HEAD" or status in ("101", "204", "304"):
        return head
    return dataclasses.replace(head, body=await read_body(reader, head, until_close=True))


def encode(start: str, headers: list[tuple[str, str]], body: bytes = b"") -> bytes:
    """A message with a body of known length; the caller gives the content-length if there is to be one."""
    lines = [start, *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def response(status: int, body: bytes = b"", *headers: tuple[str, str]) -> bytes:
    return encode(
        f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}", [*headers, ("Content-Length", str(len(body)))], body
    )


def json_response(status: int, content: object) -> bytes:
    return response(status, json.dumps(content).encode() + b"\n", ("Content-Type", "application/json"))


Connection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(answer: Callable[[Message], bytes]) -> Connection:
    """A connection handler for servers whose every answer is a function of the request."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            stays = True
            while stays:
                request = await read_request(reader)
                writer.write(answer(request))
                await writer.drain()
                stays = request.stays_open()
        except Ended:
            pass
        except Damaged as error:
            writer.write(response(400, f"{error}\n".encode(), ("Connection", "close")))
        except ConnectionError:
            pass
        finally:
            writer.close()

    return converse
