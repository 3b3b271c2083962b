"""Two proxies over real mTLS in one loop: what was said arrives whole, each end by itself, who fails is counted."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct

import pytest

from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.wheel import Wheel
from tests.support.authority import trust
from tests.support.identities import TCP, client, identity, named
from tests.support.memory import Clock
from tests.support.sockets import run, serving, until
from tests.support.two_proxies import REVIEWS, WEB, keys, proxies, renew

GET = b"GET /a HTTP/1.1\r\nHost: reviews\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two identities of one trust, and one of another domain."""
    by, folder = trust(), tmp_path_factory.mktemp("identities")
    identity(folder / "web", by, named("web"))
    identity(folder / "reviews", by, named("reviews"))
    identity(folder / "other", by, named("web", domain="other.example"))
    return folder


async def http(reader, writer):
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(OK)


async def until_the_end(reader, writer):
    """Answers once the caller has said all, and said so."""
    said = await reader.read()
    writer.write(said[::-1])
    writer.write_eof()
    await writer.drain()


async def banner(reader, writer):
    """Speaks first, and then answers."""
    writer.write(b"220 hello\r\n")
    line = await reader.readline()
    writer.write(b"250 " + line)
    await writer.drain()


def play(folders, app, case, **more):
    async def main():
        async with serving(app) as port:
            calling, called = keys(folders / "web"), keys(folders / "reviews")
            async with proxies(port, calling, called, **more) as (outside, inside):
                await case(outside, inside)
                await until(lambda: not inside.listener.connections)
                assert inside.keyring.pending == 0
                assert not outside.proxy.running
                assert not inside.proxy.running
                assert (outside.proxy.bugs, inside.proxy.bugs) == (0, 0)

    run(main)


def _read(sock):
    try:
        return sock.recv(1)
    except ConnectionResetError:
        return b""


async def dial(one):
    return await asyncio.open_connection("127.0.0.1", one.listener.port)


@pytest.mark.parametrize("protocol", ["", "HTTP"])
def test_requests_arrive_with_who_sent_them(folders, protocol):
    async def case(outside, inside):
        for _ in range(3):
            reader, writer = await dial(outside)
            writer.write(GET)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
            writer.close()
        assert {call.peer.identity for call in inside.calls} == {WEB}
        assert all(call.peer.secure and call.peer.expires > 1e9 for call in inside.calls)
        assert inside.keyring.counted == {("server", "ok"): 1}
        assert outside.keyring.counted == {("client", "ok"): 1}
        assert len(outside.keyring.lines) == len(inside.keyring.lines) == 1
        rows = inside.proxy.callers.told(0.0, 0.0)
        assert [(row["caller"], row["mtls"], row["connections"], row["port"]) for row in rows] == [(WEB, True, 1, 9080)]
        [kept] = outside.endpoints[0].idle
        kept.drain()
        await until(lambda: not outside.keyring.lines and not inside.keyring.lines)

    play(folders, http, case, protocol=protocol)


@pytest.mark.parametrize(
    ("limits", "rests", "handshakes"),
    [
        pytest.param(Limits(), 56.0, 1, id="a seldom caller"),
        pytest.param(Limits(), 61.0, 2, id="one that has gone"),
        pytest.param(Limits(idle_seconds=30.0), 28.0, 1, id="as long as the other proxy says"),
        pytest.param(Limits(idle_seconds=30.0), 29.5, 2, id="and no longer"),
        pytest.param(Limits(connections=4), 10.0, 2, id="one that many call"),
    ],
)
def test_a_connection_rests_for_a_minute_and_less_than_the_called_one_waits(folders, limits, rests, handshakes):
    clock = Clock()

    async def case(outside, inside):
        crowd = [await dial(inside) for _ in range(limits.connections < 10)]
        await until(lambda: len(inside.listener.connections) == len(crowd))
        reader, writer = await dial(outside)
        for count in (1, handshakes):
            writer.write(GET)
            assert await reader.readuntil(b"ok") == OK, "what is told goes one hop"
            assert outside.keyring.counted == {("client", "ok"): count}
            [line] = await until(lambda: outside.endpoints[0].idle)
            clock.advance(rests)
            await until(lambda rested=line: rested.wired == 0 or rested not in outside.keyring.lines)
        clock.advance(100.0)
        for _, one in [*crowd, (reader, writer)]:
            one.close()

    play(folders, http, case, limits=limits, wheel=Wheel(clock, clock.later))


@pytest.mark.parametrize("size", [1, 70_000, 3_000_000])
def test_a_relayed_connection_keeps_its_two_ends(folders, size):
    async def case(outside, inside):
        reader, writer = await dial(outside)
        said = b"\x00" + b"0123456789" * (size // 10)
        writer.write(said)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 15) == said[::-1]
        await until(lambda: inside.relayed and outside.relayed)
        for one in (outside, inside):
            [told] = one.relayed
            assert (told.error, told.bytes_in, told.bytes_out) == ("", len(said), len(said))
        assert inside.relayed[0].peer.identity == WEB
        writer.close()

    play(folders, until_the_end, case, protocol="TCP")


@pytest.mark.parametrize("protocol", ["", "TCP"])
def test_who_speaks_first_is_heard_first(folders, protocol):
    async def case(outside, inside):
        reader, writer = await dial(outside)
        assert await asyncio.wait_for(reader.readline(), 5) == b"220 hello\r\n"
        writer.write(b"helo\r\n")
        assert await reader.readline() == b"250 helo\r\n"
        writer.close()
        await until(lambda: inside.relayed)

    play(folders, banner, case, protocol=protocol)


def test_a_caller_that_breaks_off_is_broken_off(folders):
    ended = []

    async def stuck(reader, writer):
        try:
            ended.append(await reader.read())
        except ConnectionResetError:
            ended.append("reset")
            raise

    async def case(outside, inside):
        plain = socket.create_connection(("127.0.0.1", outside.listener.port))
        plain.sendall(b"\x00half")
        await until(lambda: len(inside.keyring.lines) == 1 and inside.proxy.running)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        plain.close()
        await until(lambda: inside.relayed and ended)
        assert inside.relayed[0].error == "caller_gone"
        assert outside.relayed[0].error == "caller_gone"

    play(folders, stuck, case, protocol="TCP")


def test_a_plain_caller_and_the_applications_own_tls_are_as_before(folders):
    async def case(outside, inside):
        reader, writer = await dial(inside)
        writer.write(GET)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await until(lambda: inside.calls)
        assert inside.calls[0].peer.identity == ""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2", "http/1.1"])
        up = ssl.MemoryBIO()
        engine = context.wrap_bio(ssl.MemoryBIO(), up, server_hostname="app")
        with pytest.raises(ssl.SSLWantReadError):
            engine.do_handshake()
        hello = up.read()
        reader, writer = await dial(inside)
        writer.write(hello)
        await until(lambda: inside.proxy.running)
        writer.close()
        await until(lambda: inside.relayed)
        [told] = inside.relayed
        assert (told.protocol, told.host, told.bytes_in, told.peer.identity) == ("TLS", "app", len(hello), "")
        assert inside.keyring.counted == {}

    play(folders, http, case)


def test_who_has_no_certificate_of_ours_is_counted_and_gone(folders):
    async def case(outside, inside):
        loop = asyncio.get_running_loop()
        for shown, result in ((None, "no_certificate"), (folders / "other", "trust_domain")):
            context = client(shown, folders / "web", (TCP,))

            def knock(context=context):
                try:
                    with socket.create_connection(("127.0.0.1", inside.listener.port), 5) as plain:
                        return context.wrap_socket(plain).recv(10)
                except OSError:
                    return b""

            assert await loop.run_in_executor(None, knock) == b""
            await until(lambda result=result: inside.keyring.counted.get(("server", result)) == 1)
        assert inside.relayed == inside.calls == []

    play(folders, http, case)


def test_a_stranger_that_says_half_a_hello_is_not_waited_for(folders):
    async def case(outside, inside):
        _, writer = await dial(inside)
        hello = bytes.fromhex("160301020001")
        writer.write(hello)
        await until(lambda: inside.listener.connections)
        [connection] = inside.listener.connections
        connection.on_due(0.0)  # the time for half a word is over: it is the application's
        await until(lambda: inside.proxy.running)
        writer.close()
        await until(lambda: inside.relayed)
        assert inside.relayed[0].bytes_in == len(hello)

    play(folders, http, case)


def test_too_many_handshakes_are_turned_away(folders):
    async def case(outside, inside):
        loop = asyncio.get_running_loop()
        context = client(folders / "web", folders / "web")
        up = ssl.MemoryBIO()
        engine = context.wrap_bio(ssl.MemoryBIO(), up, server_hostname="x")
        with pytest.raises(ssl.SSLWantReadError):
            engine.do_handshake()
        hello = up.read()
        first = socket.create_connection(("127.0.0.1", inside.listener.port))
        first.sendall(hello)
        await until(lambda: inside.keyring.pending == 1)
        with socket.create_connection(("127.0.0.1", inside.listener.port)) as second:
            second.sendall(hello)
            second.settimeout(5)
            assert await loop.run_in_executor(None, _read, second) == b""
        assert inside.keyring.counted == {("server", "overloaded"): 1}
        await until(lambda: inside.keyring.pending == 0)  # the first did not go on in time
        assert inside.keyring.counted["server", "timeout"] == 1
        first.close()

    limits = Limits(handshakes=1, handshake_seconds=0.5)
    play(folders, http, case, limits=limits)


def test_a_caller_that_leaves_in_the_middle_is_counted(folders):
    async def case(outside, inside):
        context = client(folders / "web", folders / "web")
        up = ssl.MemoryBIO()
        with pytest.raises(ssl.SSLWantReadError):
            context.wrap_bio(ssl.MemoryBIO(), up, server_hostname="x").do_handshake()
        with socket.create_connection(("127.0.0.1", inside.listener.port)) as plain:
            plain.sendall(up.read())
            await until(lambda: inside.keyring.pending == 1)
        await until(lambda: inside.keyring.counted == {("server", "cut"): 1})

    play(folders, http, case)


def test_an_end_of_the_listener_ends_handshakes(folders):
    async def case(outside, inside):
        context = client(folders / "web", folders / "web")
        up = ssl.MemoryBIO()
        with pytest.raises(ssl.SSLWantReadError):
            context.wrap_bio(ssl.MemoryBIO(), up, server_hostname="x").do_handshake()
        with socket.create_connection(("127.0.0.1", inside.listener.port)) as plain:
            plain.sendall(up.read())
            await until(lambda: inside.keyring.pending == 1)
            inside.listener.close()
            await until(lambda: inside.keyring.pending == 0)

    play(folders, http, case)


def test_who_is_called_must_be_whom_we_mean(folders):
    async def case(outside, inside):
        reader, writer = await dial(outside)
        writer.write(GET)
        assert (await reader.readline()).startswith(b"HTTP/1.1 502 ")
        writer.close()
        await until(lambda: outside.calls)
        [call] = outside.calls
        assert call.error == "tls_identity"
        assert call.detail.endswith(f"{REVIEWS} answers where {WEB} should")
        assert outside.keyring.counted["client", "identity"] >= 1
        assert not outside.endpoints[0].active

    play(folders, http, case, expected=WEB)


def test_renewed_connections_are_new_ones(folders):
    async def case(outside, inside):
        reader, writer = await dial(outside)
        for expected in (1, 1, 2):
            if expected == 2:
                renew(outside.keyring, folders / "web")
            writer.write(GET)
            await reader.readuntil(b"ok")
            assert outside.keyring.counted == {("client", "ok"): expected}
        writer.close()
        await until(lambda: len(outside.keyring.lines) == 1)
        renew(outside.keyring, folders / "web")
        outside.keyring.sweep()
        await until(lambda: not outside.keyring.lines)  # nobody has asked for anything: it was idle

    play(folders, http, case)


def test_what_outlives_its_certificate_is_ended(folders):
    async def case(outside, inside):
        reader, writer = await dial(outside)
        writer.write(b"\x00")
        await until(lambda: inside.relayed or len(inside.keyring.lines) == 1)
        inside.keyring.now = lambda: 4e9  # a clock long after
        inside.keyring.sweep()
        with pytest.raises(ConnectionResetError):  # not an end that could be taken for the answer's
            await asyncio.wait_for(reader.read(), 5)
        await until(lambda: outside.relayed)
        assert outside.relayed[0].error == "incomplete"
        writer.close()

    async def stuck(reader, writer):
        await reader.read()

    play(folders, stuck, case, protocol="TCP")


async def socketlike(reader, writer):
    """Changes protocols, and then says everything twice."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    while said := await reader.read(65536):
        writer.write(said + said)


UPGRADE = b"GET /ws HTTP/1.1\r\nHost: reviews\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_websocket_goes_through_and_ends(folders, caplog, how):
    async def case(outside, inside):
        reader, writer = await dial(outside)
        writer.write(UPGRADE)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        for _ in range(3):
            writer.write(b"ab" * 10_000)
            assert await reader.readexactly(40_000) == b"ab" * 20_000
        writer.close() if how == "close" else writer.transport.abort()
        await until(lambda: inside.calls and outside.calls)
        assert inside.calls[0].bytes_in == 60_000

    play(folders, socketlike, case)
    assert [line.getMessage() for line in caplog.records] == []


def test_an_application_that_ends_a_websocket_is_heard(folders, caplog):
    async def says_bye(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nbye")

    async def case(outside, inside):
        reader, writer = await dial(outside)
        writer.write(UPGRADE)
        assert (await asyncio.wait_for(reader.read(), 5)).endswith(b"\r\n\r\nbye")
        writer.close()
        await until(lambda: inside.calls and outside.calls)

    play(folders, says_bye, case)
    assert [line.getMessage() for line in caplog.records] == []
