"""What an application is asked, byte by byte, and which of its answers pass."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidewinder_sidecar.main.question import BODY_BYTES, HEAD_BYTES, LINE_BYTES, Failed, put
from sidewinder_sidecar.snapshot.probes import HttpProbe, TcpProbe
from tests.support.sockets import certificate

FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Application:
    """Answers each connection with the same bytes and keeps what it was asked."""

    def __init__(self, answer: bytes, closes: bool = True) -> None:
        self.answer, self.closes = answer, closes
        self.hasty = False  # speaks before it is asked
        self.port = 0
        self.asked: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self.hasty:
                self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            await writer.drain()
            if not self.closes:
                await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def running(application: Application, address: str = "127.0.0.1") -> AsyncIterator[Application]:
    server = await asyncio.start_server(application.serve, address, 0)
    application.port = server.sockets[0].getsockname()[1]
    try:
        yield application
    finally:
        server.close()


def ask(
    answer: bytes = FINE,
    probe: Callable[[int], HttpProbe | TcpProbe] = lambda port: HttpProbe(port=port),
    closes: bool = True,
    address: str = "127.0.0.1",
) -> tuple[str, list[bytes]]:
    """Why it failed, "" if it passed; and what was asked, in lines."""

    async def once() -> tuple[str, list[bytes]]:
        async with running(Application(answer, closes), address) as application:
            try:
                await put(probe(application.port), address)
            except Failed as fault:
                return str(fault), b"".join(application.asked).split(b"\r\n")
            return "", b"".join(application.asked).split(b"\r\n")

    return asyncio.run(once())


@pytest.mark.parametrize("status", [200, 204, 301, 302, 399])
def test_these_statuses_pass(status: int) -> None:
    assert ask(b"HTTP/1.1 %d X\r\nLocation: http://192.0.2.1/\r\n\r\n" % status)[0] == ""


class Moved(Application):
    """Redirects every path but the last of a list to the next one."""

    def __init__(self, *places: str) -> None:
        super().__init__(FINE)
        self.places = places

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(asked.split(b" ")[1])
        place = self.places[len(self.asked) - 1].format(port=self.port)
        status = place if place.isdigit() else "302 Moved"
        location = "" if place.isdigit() else f"Location: {place}\r\n"
        writer.write(f"HTTP/1.1 {status}\r\n{location}Content-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()


def follow(*places: str, host: str = "") -> tuple[str, list[bytes]]:
    """Why it failed (else what is told) and what was asked."""

    async def once() -> tuple[str, list[bytes]]:
        async with running(Moved(*places)) as application:
            try:
                told = await put(HttpProbe(port=application.port, target="/a/b?c", host=host, seconds=5), "127.0.0.1")
            except Failed as fault:
                told = str(fault)
            return told, application.asked

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("place", "host", "then"),
    [
        ("/ready", "", b"/ready"),
        ("ready?x=1#part", "", b"/a/ready?x=1"),
        ("http://127.0.0.1:{port}/up", "", b"/up"),
        ("//shop.example:{port}/", "shop.example", b"/"),
    ],
    ids=["path", "relative", "whole", "by its name"],
)
def test_a_redirect_to_the_same_host_is_followed(place: str, host: str, then: bytes) -> None:
    assert follow(place, "200", host=host) == ("", [b"/a/b?c", then])
    assert follow(place, "503", host=host)[0].endswith("answered with status 503")


@pytest.mark.parametrize(
    "place", ["http://192.0.2.1/", "//127.0.0.2/", "ftp://127.0.0.1/", "http://127.0.0.1:99999/", "/a b", "/ä"]
)
def test_a_redirect_elsewhere_passes_and_is_not_followed(place: str) -> None:
    told, asked = follow(place, "503")
    assert (told, asked) == (" with status 302 to another host, which is not followed", [b"/a/b?c"])


def test_redirects_that_do_not_end_fail() -> None:
    told, asked = follow(*["/again"] * 20)
    assert (told, len(asked)) == ("more than 10 redirects", 10)


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
def test_these_statuses_do_not(status: int) -> None:
    assert f"answered with status {status}" in ask(b"HTTP/1.1 %d X\r\n\r\n" % status)[0]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + FINE,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nuntil it closes",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n" + b"x" * BODY_BYTES,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10 * BODY_BYTES,
    ],
    ids=["1.0", "line feeds", "interim", "chunked", "until closed", "long", "endless"],
)
def test_every_kind_of_answer_is_understood(answer: bytes) -> None:
    assert ask(answer)[0] == ""


@pytest.mark.parametrize(
    "answer",
    [FINE, b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
    ids=["length", "none", "chunked"],
)
def test_an_application_that_does_not_close_is_not_waited_for(answer: bytes) -> None:
    assert ask(answer, lambda port: HttpProbe(port=port, seconds=60), closes=False)[0] == ""


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "no whole answer"),
        (b"HTTP/1.1 200 OK\r\n", "no whole answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "no whole answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "breaks off"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP/1"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "not HTTP/1"),
        (b"HTTP/1.1 200 " + b"x" * 2 * LINE_BYTES + b"\r\n\r\n", "no whole answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (HEAD_BYTES // 3) + b"\r\n", "is larger than"),
    ],
    ids=["nothing", "head", "length", "chunked", "ssh", "status", "line", "fields"],
)
def test_half_an_answer_is_none(answer: bytes, why: str) -> None:
    assert why in ask(answer)[0]


def test_the_request_is_what_a_kubelet_would_send() -> None:
    why, lines = ask(probe=lambda port: HttpProbe(port=port, target="/healthz?deep=1"))
    assert why == ""
    assert lines[0] == b"GET /healthz?deep=1 HTTP/1.1"
    assert lines[1].startswith(b"Host: 127.0.0.1:")
    assert lines[2:] == [b"User-Agent: kube-probe/sidewinder", b"Accept: */*", b"Connection: close", b"", b""]


def test_its_own_headers_come_along_and_stand_for_ours() -> None:
    headers = (
        ("host", "web.example"), ("X-A", "1"), ("x-a", "é"), ("USER-AGENT", "me"), ("Accept", ""),
        ("Content-Length", "7"), ("Connection", "keep-alive"),
    )  # fmt: skip
    _, lines = ask(probe=lambda port: HttpProbe(port=port, headers=headers, host="other.example"))
    fields = [b"Host: web.example", b"X-A: 1", "x-a: é".encode(), b"USER-AGENT: me", b"Connection: close"]
    assert lines[1:] == [*fields, b"", b""]


@pytest.mark.parametrize(
    ("host", "told"), [("", b"[::1]:"), ("web.example", b"web.example:"), ("fe80::1", b"[fe80::1]:")]
)
def test_the_host_field_names_no_other_place(host: str, told: bytes) -> None:
    why, lines = ask(probe=lambda port: HttpProbe(port=port, host=host), address="::1")
    assert why == ""
    assert lines[1].startswith(b"Host: " + told)


@pytest.mark.parametrize("kind", [HttpProbe, TcpProbe])
def test_nobody_there_is_told(kind: type[HttpProbe] | type[TcpProbe]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(Failed, match=f"port {port} cannot be asked: .*refused"):
        asyncio.run(put(kind(port=port), "127.0.0.1"))


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\nok"], ids=["none", "head", "body"]
)
def test_an_application_that_hangs_has_the_probes_time(answer: bytes) -> None:
    assert "within 1 s" in ask(answer, closes=False)[0]


def test_a_connection_is_enough_for_tcp() -> None:
    assert ask(b"", lambda port: TcpProbe(port=port))[0] == ""


def test_a_listener_that_takes_no_connection_has_the_probes_time() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        port = listening.getsockname()[1]
        full = [socket.socket() for _ in range(4)]  # a queue that nobody empties
        for each in full:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        with pytest.raises(Failed, match="within 1 s"):
            asyncio.run(put(TcpProbe(port=port), "127.0.0.1"))
        for each in full:
            each.close()


@pytest.mark.parametrize("host", ["", "web.example"])
def test_https_is_asked_without_asking_who_it_is(tmp_path: Path, host: str) -> None:
    names: list[str | None] = []

    async def once(serves: bool) -> None:
        application = Application(FINE)
        application.hasty = not serves
        context = certificate(tmp_path)[0] if serves else None
        if context is not None:
            context.sni_callback = lambda _, name, __: names.append(name)
        server = await asyncio.start_server(application.serve, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        try:
            await put(HttpProbe(port=port, tls=True, host=host, seconds=10), "127.0.0.1")
        finally:
            server.close()

    asyncio.run(once(serves=True))
    assert names == [host or None]
    with pytest.raises(Failed, match="speaks no TLS"):
        asyncio.run(once(serves=False))


def test_a_host_that_is_no_name_is_told() -> None:
    why, _ = ask(probe=lambda port: HttpProbe(port=port, tls=True, host="x" * 64 + ".example"))
    assert "is no name that can be asked for" in why
