"""The port over real TLS: one request a connection, strangers bounded in number and time, streams ended when told."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.credentials import Credentials
from sidewinder_operator.authority.sign import Identity, sign
from sidewinder_operator.main import mesh_port, strangers
from sidewinder_operator.main.mesh_port import MeshPort, bind
from sidewinder_operator.main.strangers import Strangers
from tests.support import enrolment
from tests.support.clock import eventually

NOW = dt.datetime.now(dt.UTC)
TRUST = roots.Trust(roots.create("cluster.local", NOW))
BUNDLE = TRUST.pem().decode()
GET = b"GET /%b HTTP/1.1\r\nHost: operator\r\n\r\n"


def leaf_of(name: str) -> tuple[str, enrolment.Key]:
    key = ec.generate_private_key(ec.SECP256R1())
    identity = Identity("cluster.local", "shop", name)
    return sign(enrolment.request(key).encode(), identity, TRUST, NOW).decode(), key


class Site:
    """A running port with three pages: one that answers, one that never ends, one that fails."""

    def __init__(self, most: int) -> None:
        application = web.Application()
        application.router.add_get("/page", self.page)
        application.router.add_get("/stream", self.stream)
        application.router.add_get("/bug", self.bug)
        credentials = Credentials(Identity("cluster.local", "system", "operator"), (enrolment.SERVER,))
        credentials.step(TRUST, NOW)
        self.handshakes = 0  # begun, by those who said hello
        hand_over = credentials.server.sni_callback

        def count(*words: object) -> None:
            self.handshakes += 1
            hand_over(*words)

        credentials.server.sni_callback = count
        self.strangers = Strangers(most, most)
        self.made = MeshPort(application, credentials.server, "127.0.0.1", 0, self.strangers)
        self.streams = 0

    @property
    def port(self) -> int:
        assert self.made.address is not None
        return self.made.address[1]

    async def page(self, request: web.Request) -> web.Response:
        return web.json_response({"peer": bool(request.transport.get_extra_info("peercert"))})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        self.streams += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.streams -= 1
        return response

    async def bug(self, request: web.Request) -> web.Response:
        raise RuntimeError("a bug")

    async def get(self, path: bytes) -> enrolment.Answer:
        return await enrolment.exchange(self.port, enrolment.trusting(BUNDLE), GET % path)

    async def hold(self, *leaf: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """An open stream."""
        before = self.streams
        tls = enrolment.trusting(BUNDLE, *leaf)
        held = await asyncio.open_connection("127.0.0.1", self.port, ssl=tls, server_hostname=enrolment.SERVER)
        held[1].write(GET % b"stream")
        await eventually(lambda: self.streams == before + 1)
        return held

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that says nothing, not even TLS."""
        return await asyncio.open_connection("127.0.0.1", self.port)


def bench(work: Callable[[Site], Awaitable[None]], most: int = 10) -> None:
    async def main() -> None:
        site = Site(most)
        running = asyncio.create_task(site.made.run())
        await eventually(lambda: site.made.address)
        try:
            await work(site)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert site.streams == 0
        assert site.made.address is None

    uvloop.run(asyncio.wait_for(main(), 30))


def test_a_connection_carries_one_request() -> None:
    async def work(site: Site) -> None:
        tls = enrolment.trusting(BUNDLE)
        answer = await enrolment.exchange(site.port, tls, GET % b"page" + GET % b"page")
        assert (answer.status, answer.body, answer.headers["connection"]) == (200, {"peer": False}, "close")
        assert site.made.connections == 1

    bench(work)


@pytest.mark.parametrize(("path", "status"), [(b"none", 404), (b"bug", 500)])
def test_what_is_not_there_or_fails_is_answered_and_closed(path: bytes, status: int) -> None:
    async def work(site: Site) -> None:
        assert (await site.get(path)).status == status

    bench(work)


def test_who_says_nothing_is_closed_before_and_after_the_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_port, "HANDSHAKE_SECONDS", 0.1)
    monkeypatch.setattr(mesh_port, "HEAD_SECONDS", 0.1)
    monkeypatch.setattr(mesh_port, "LOOK_SECONDS", 0.05)

    async def work(site: Site) -> None:
        plain, writer = await site.connect()
        assert await asyncio.wait_for(plain.read(), 5) == b""
        writer.close()
        tls = enrolment.trusting(BUNDLE)
        half, writer = await asyncio.open_connection("127.0.0.1", site.port, ssl=tls, server_hostname=enrolment.SERVER)
        writer.write(b"GET /page HTTP/1.1\r\nHost:")
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(half.read(), 5) == b""
        writer.transport.abort()
        await eventually(lambda: site.made.failures == 2)
        assert site.made.connections == 0

    bench(work)


def test_strangers_are_few_at_once_and_streams_are_not_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_port, "HANDSHAKE_SECONDS", 0.4)

    async def work(site: Site) -> None:
        streams = [await site.hold() for _ in range(3)]
        silent = [await site.connect() for _ in range(2)]
        began = asyncio.get_running_loop().time()
        assert (await site.get(b"page")).status == 200
        assert asyncio.get_running_loop().time() - began > 0.2, "it waited for one of the silent to be closed"
        for _, writer in (*streams, *silent):
            writer.transport.abort()

    bench(work, 2)


def test_who_goes_away_at_once_makes_room_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_port, "LOOK_SECONDS", 0.02)

    async def work(site: Site) -> None:
        for _ in range(5):
            (await site.connect())[1].transport.abort()
        tls = enrolment.trusting(BUNDLE)
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", site.port, ssl=tls, server_hostname=enrolment.SERVER)
            writer.transport.abort()
        assert (await asyncio.wait_for(site.get(b"page"), 3)).status == 200

    bench(work, 1)


def test_who_has_gone_while_it_waited_costs_no_handshake() -> None:
    async def work(site: Site) -> None:
        silent = await site.connect()
        hello = ssl.MemoryBIO()
        tls = enrolment.trusting(BUNDLE).wrap_bio(ssl.MemoryBIO(), hello, server_hostname=enrolment.SERVER)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        said, gone = hello.read(), [await site.connect() for _ in range(3)]
        for _, writer in gone:
            writer.write(said)
        await eventually(lambda: repr(site.strangers) == "<Strangers 1 inside, 3 waiting>")
        for _, writer in gone:
            writer.close()
            await writer.wait_closed()
        silent[1].transport.abort()
        await eventually(lambda: site.made.failures == 4)
        assert site.handshakes == 0
        assert (await site.get(b"page")).status == 200
        assert site.handshakes == 1

    bench(work, 1)


def test_a_crowd_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "MOST_WAITING_OF_ONE", 1)

    async def work(site: Site) -> None:
        silent = [await site.connect() for _ in range(2)]
        reader, writer = await site.connect()
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 2) == b""
        assert site.made.failures == 1
        for _, each in (*silent, (reader, writer)):
            each.transport.abort()

    bench(work, 1)


def test_connections_that_may_not_stay_are_ended_and_the_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_port, "SPREAD_SECONDS", 0.0)

    async def work(site: Site) -> None:
        goes, stays = await site.hold(*leaf_of("goes")), await site.hold(*leaf_of("stays"))

        def keeps(transport: asyncio.BaseTransport) -> bool:
            names = transport.get_extra_info("peercert")["subjectAltName"]
            return "stays" in str(names)

        site.made.end(keeps)
        await eventually(lambda: site.streams == 1)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(goes[0].read(), 5)
        assert goes[0].at_eof() or goes[0].exception()
        assert not stays[0].at_eof()
        for _, writer in (goes, stays):
            writer.transport.abort()

    bench(work)


def test_it_can_be_ended_and_run_again() -> None:
    async def twice() -> None:
        site = Site(10)
        for _ in range(2):
            running = asyncio.create_task(site.made.run())
            await eventually(lambda: site.made.address)
            assert (await site.get(b"page")).status == 200
            held = await site.hold()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert site.streams == 0
            held[1].transport.abort()

    uvloop.run(asyncio.wait_for(twice(), 20))


def test_a_port_that_is_taken_is_an_error_and_nothing_stays_open() -> None:
    (held,) = bind("127.0.0.1", 0)
    held.listen()
    try:
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", held.getsockname()[1])
    finally:
        held.close()


def test_without_an_address_it_is_all_addresses_of_each_family_there_is() -> None:
    opened = bind("", 0)
    try:
        families = {each.family for each in opened}
        assert socket.AF_INET in families
        assert len({each.getsockname()[1] for each in opened}) == 1
        assert len(opened) == len(families) == (2 if socket.has_dualstack_ipv6() else 1)
    finally:
        for each in opened:
            each.close()
