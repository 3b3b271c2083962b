"""One probe, put to the application as a kubelet would put it. Called by `probing`; knows sockets, and nothing of ours.

A few lines of HTTP of its own, as forgiving as the kubelet's: the data path's codec would refuse answers that the
kubelet takes. One connection a question; the answer's body is read like there, 10 KiB at most, and thrown away.
A redirect is followed as there: to the host that was asked, whatever its port, and never to another address.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import msgspec

from sidewinder_sidecar.snapshot.probes import HttpProbe, Probe

LINE_BYTES = 16_384  # of a status or field line
HEAD_BYTES = 65_536
SHUTDOWN_SECONDS = 1.0  # for the goodbye of TLS, which nobody waits for
BODY_BYTES = 10_240  # the kubelet reads no more
MOST_HOPS = 10  # redirects, as the kubelet's client
REDIRECTS = frozenset((301, 302, 303, 307, 308))
AGENT = "kube-probe/sidewinder"  # applications leave `kube-probe/` out of their logs
# Said here, or about a body that is not there.
_OURS = frozenset(("host", "connection", "content-length", "transfer-encoding", "trailer"))

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [^\r\n]*)?\r?\n")


class Failed(Exception):
    """The application is not as the probe wants it; says why, and nothing of what it has answered but the status."""


async def put(probe: Probe, address: str) -> str:
    """Ask once, in the probe's time; what is worth a word about how it passed. Raises Failed."""
    try:
        return await asyncio.wait_for(_put(probe, address), probe.seconds)
    except TimeoutError:
        raise Failed(f"no answer from port {probe.port} within {probe.seconds} s") from None
    except ssl.SSLError as fault:
        raise Failed(f"port {probe.port} speaks no TLS that can be understood: {fault.reason or fault}") from None
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise Failed(f"port {probe.port} gave no whole answer in HTTP") from None
    except OSError as fault:
        why = os.strerror(fault.errno) if fault.errno else str(fault)
        raise Failed(f"port {probe.port} cannot be asked: {why}") from None


async def _put(probe: Probe, address: str) -> str:
    if not isinstance(probe, HttpProbe):
        _, writer = await asyncio.open_connection(address, probe.port)
        writer.close()
        return ""
    return await _follow(probe, address)


async def _follow(probe: HttpProbe, address: str) -> str:
    """Ask, and ask where the answer points, while that is the same host."""
    for _ in range(MOST_HOPS):
        status, location = await _once(probe, address)
        if not 200 <= status < 400:
            raise Failed(f"port {probe.port} answered with status {status}")
        if status not in REDIRECTS or not location:
            return f" with status {status}" if status >= 300 else ""
        onward = _onward(probe, address, location)
        if onward is None:  # a stranger may ask, and an application must not send the proxy anywhere on his behalf
            return f" with status {status} to another host, which is not followed"
        probe = onward
    raise Failed(f"more than {MOST_HOPS} redirects")


def _onward(probe: HttpProbe, address: str, location: str) -> HttpProbe | None:
    """The question at the end of a redirect; None if that is another host, or no place that can be asked.

    Dialled is the same address: what the host's name stands for elsewhere does not matter.
    """
    place = probe.host or address
    try:
        here = f"http{'s' if probe.tls else ''}://{f'[{place}]' if ':' in place else place}:{probe.port}{probe.target}"
        to = urlsplit(urljoin(here, location))
        if to.scheme not in ("http", "https") or to.hostname != place.lower():
            return None
        tls = to.scheme == "https"
        changed = {
            "port": to.port or (443 if tls else 80),
            "tls": tls,
            "target": to._replace(scheme="", netloc="", fragment="").geturl(),
        }
        return msgspec.convert({**msgspec.to_builtins(probe), **changed}, HttpProbe)
    except ValueError:  # no URL, or nothing that may stand in a request
        return None


async def _once(probe: HttpProbe, address: str) -> tuple[int, str]:
    """The answer's status, and where it points."""
    reader, writer = await _connect(probe, address)
    try:
        writer.write(b"".join(_request(probe, address)))
        return await _answered(reader)
    finally:
        writer.close()


async def _connect(probe: HttpProbe, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises OSError and Failed."""
    if not probe.tls:
        return await asyncio.open_connection(address, probe.port, limit=LINE_BYTES)
    # The kubelet verifies no certificate of an application, and neither does its stand-in.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        return await asyncio.open_connection(
            address,
            probe.port,
            limit=LINE_BYTES,
            ssl=context,
            server_hostname=probe.host or address,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )
    except ValueError as fault:  # a host with a label that is too long
        raise Failed(f"{probe.host!r} is no name that can be asked for: {fault}") from None


def _request(probe: HttpProbe, address: str) -> Iterator[bytes]:
    """The request's head, line by line. A field of the probe stands for ours; an empty one means none."""
    told: dict[str, list[str]] = {}
    for name, value in probe.headers:
        told.setdefault(name.lower(), []).append(value)
    place = probe.host or address
    host = next(iter(told.get("host", ())), "") or f"{f'[{place}]' if ':' in place else place}:{probe.port}"
    yield f"GET {probe.target} HTTP/1.1\r\nHost: {host}\r\n".encode()
    for name, ours in (("User-Agent", AGENT), ("Accept", "*/*")):
        if name.lower() not in told:
            yield f"{name}: {ours}\r\n".encode()
    for name, value in probe.headers:
        lower = name.lower()
        if lower not in _OURS and (value or lower not in ("user-agent", "accept")):
            yield f"{name}: {value}\r\n".encode()
    yield b"Connection: close\r\n\r\n"


async def _answered(reader: asyncio.StreamReader) -> tuple[int, str]:
    """The final answer's status and Location, once all of it is there that the kubelet waits for."""
    while True:
        found = _STATUS.fullmatch(await reader.readuntil(b"\n"))
        if found is None:
            raise Failed("the answer is not HTTP/1")
        status, fields = int(found[1]), await _fields(reader)
        if status >= 200:
            break
    if status not in (204, 304):
        await _body(reader, fields)
    return status, fields.get(b"location", b"").decode("latin-1")


async def _fields(reader: asyncio.StreamReader) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    left = HEAD_BYTES
    while line := (await reader.readuntil(b"\n")).rstrip(b"\r\n"):
        left -= len(line)
        if left < 0:
            raise Failed(f"the answer's head is larger than {HEAD_BYTES} bytes")
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip()
    return fields


async def _body(reader: asyncio.StreamReader, fields: dict[bytes, bytes]) -> None:
    """Until it ends or is enough. A body that breaks off is no answer; a server may keep the connection open."""
    length = fields.get(b"content-length", b"")
    chunked = fields.get(b"transfer-encoding", b"").lower().endswith(b"chunked")
    if not chunked and length.isdigit():
        await reader.readexactly(min(int(length[:9]), BODY_BYTES))
        return
    body = b""
    while len(body) < BODY_BYTES and not (chunked and body.endswith(b"0\r\n\r\n")):
        data = await reader.read(BODY_BYTES)
        if not data:
            if chunked:
                raise Failed("the answer breaks off")
            return
        body += data
