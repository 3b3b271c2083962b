"""Lines both ways over one HTTP/1.1 exchange: POST /discovery, chunked bodies that never end. Used by `stream` only.

A small client of its own: an HTTP library would cost 13 MB for one request. Every read and every buffer is bounded,
since nobody promises that the other end is the operator.
"""

from __future__ import annotations

import asyncio
import os
import ssl

from sidewinder_sidecar.discovery import dial as ways
from sidewinder_sidecar.discovery.dial import PIECE, Dial
from sidewinder_sidecar.snapshot.stream import LONGEST_LINE

HEAD_LIMIT = 16384  # bytes of the answer's head
OPEN_SECONDS = 30.0  # to connect and to hear the answer's head; most of it is for others who connect, too
SEND_SECONDS = 10.0  # for the other end to read what we send
UNREAD = 262144  # bytes that may wait to be sent


class Broken(Exception):
    """The channel cannot be used (any more); says why."""


class Unwelcome(Broken):
    """The other end does not take our certificate, or so it seems: another one may be needed."""


class Unreached(Broken):
    """Nobody listens: a try costs the operator nothing."""


# In TLS 1.3 a server judges our certificate after our side of the handshake is over, and asyncio's servers close then
# without the alert that would say so.
SILENT = "closed without an answer, as an operator does that refuses the certificate"


class Channel:
    """`read` gives one line without its newline; `send` sends whole lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()
        self._scanned = 0  # of the buffer: no newline before
        self._left = 0  # of the current chunk

    @classmethod
    async def open(cls, dial: Dial) -> Channel:
        """Connect and begin the exchange. Raises Broken, Unreached where nobody listens."""
        try:
            return await asyncio.wait_for(cls._open(dial), OPEN_SECONDS)
        except TimeoutError:
            raise Broken(f"{dial}: no answer within {OPEN_SECONDS:g} s") from None
        except ways.Unreached as fault:
            raise Unreached(str(_broken(fault, f"{dial}: "))) from None
        except OSError as fault:
            raise _broken(fault, f"{dial}: ") from None
        except Unwelcome as fault:
            raise Unwelcome(f"{dial}: {fault}") from None

    @classmethod
    async def _open(cls, dial: Dial) -> Channel:
        reader, writer = await dial.connect()
        channel = cls(reader, writer)
        try:
            writer.write(
                b"POST /discovery HTTP/1.1\r\nhost: discovery\r\ncontent-type: application/x-ndjson\r\n"
                b"transfer-encoding: chunked\r\n\r\n"
            )
            await channel._head()
        except BaseException:
            channel.close()
            raise
        return channel

    async def _head(self) -> None:
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError) as fault:
            if not getattr(fault, "partial", b"") and self._writer.get_extra_info("ssl_object") is not None:
                raise Unwelcome(SILENT) from None
            raise Broken("the answer is no HTTP/1.1 head") from None
        if len(head) > HEAD_LIMIT:
            raise Broken("the answer's head is too long")
        status, *rows = head[:-4].split(b"\r\n")
        if not status.startswith(b"HTTP/1.1 "):
            raise Broken(f"the answer is not HTTP/1.1: {status[:64]!r}")
        if status[9:12] != b"200":
            raise Broken(f"refused: {status[9:200].decode('latin-1')}")
        fields = dict(row.lower().split(b":", 1) for row in rows if b":" in row)
        if fields.get(b"transfer-encoding", b"").strip() != b"chunked":
            raise Broken("the answer is not chunked")

    async def read(self) -> bytes:
        """The next line. Raises Broken at the end, for a line without one, and for what is no chunk. May be
        cancelled."""
        while (end := self._buffer.find(b"\n", self._scanned)) < 0:
            self._scanned = len(self._buffer)
            if self._scanned > LONGEST_LINE:
                raise Broken(f"a line of more than {LONGEST_LINE} bytes")
            self._buffer += await self._piece()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._scanned = 0
        return line

    async def _piece(self) -> bytes:
        try:
            while self._left == 0:
                line = await self._reader.readuntil(b"\r\n")
                if line != b"\r\n":  # else the end of the chunk before
                    self._left = _size(line)
            piece = await self._reader.read(min(self._left, PIECE))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise Broken("closed by the other end") from None
        except OSError as fault:
            raise _broken(fault) from None
        if not piece:
            raise Broken("closed by the other end")
        self._left -= len(piece)
        return piece

    async def send(self, lines: bytes) -> None:
        """Send one or more whole lines. Raises Broken when the other end does not read, or is gone."""
        if self._writer.transport.is_closing():  # uvloop would raise what is no fault of the network
            raise Broken("closed")
        self._writer.write(b"%x\r\n%b\r\n" % (len(lines), lines))
        try:
            await asyncio.wait_for(self._writer.drain(), SEND_SECONDS)
        except TimeoutError:
            raise Broken(f"the other end has read nothing for {SEND_SECONDS:g} s") from None
        except OSError as fault:
            raise _broken(fault) from None

    def post(self, line: bytes) -> bool:
        """Send a short line without waiting. False: the other end leaves too much unread, and the line is lost."""
        transport = self._writer.transport
        if transport.is_closing() or transport.get_write_buffer_size() >= UNREAD:
            return False
        self._writer.write(b"%x\r\n%b\r\n" % (len(line), line))
        return True

    def close(self) -> None:
        """Close at once; what waits to be sent is lost."""
        self._writer.transport.abort()


# What a server says in TLS of a client's certificate (RFC 8446 section 6.2), as OpenSSL names it.
_REFUSALS = frozenset(
    f"{version}_ALERT_{why}"
    for version in ("SSLV3", "TLSV1", "TLSV13")
    for why in (
        "BAD_CERTIFICATE", "UNSUPPORTED_CERTIFICATE", "CERTIFICATE_REVOKED", "CERTIFICATE_EXPIRED",
        "CERTIFICATE_UNKNOWN", "UNKNOWN_CA", "ACCESS_DENIED", "CERTIFICATE_REQUIRED",
    )
)  # fmt: skip


def _broken(fault: OSError, where: str = "") -> Broken:
    """The fault as ours, in words."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return Broken(f"{where}the server's certificate is not accepted: {fault.verify_message}")
    if isinstance(fault, ssl.SSLError):
        reason = fault.reason or str(fault)
        kind = Unwelcome if reason in _REFUSALS else Broken
        return kind(f"{where}{reason.lower().replace('_', ' ')}")
    known = os.strerror(fault.errno) if fault.errno else ""
    return Broken(f"{where}{known or fault.strerror or str(fault) or type(fault).__name__}")


def _size(line: bytes) -> int:
    """A chunk's size; extensions are passed over, the last chunk and its trailers are the end."""
    digits = line[:-2].partition(b";")[0].strip()
    if not 1 <= len(digits) <= 8 or digits.strip(b"0123456789abcdefABCDEF"):
        raise Broken(f"no chunk size: {line[:32]!r}")
    if (size := int(digits, 16)) == 0:
        raise Broken("ended by the other end")
    return size
