"""Connections to an operator over TLS 1.3: with whom, to whom, and what stands in the way."""

import asyncio
import datetime as dt
import socket
import ssl
import threading
import time

import pytest
import uvloop

from sidewinder_sidecar.discovery import dial as module
from sidewinder_sidecar.discovery.channel import Broken, Channel, Unreached, Unwelcome
from sidewinder_sidecar.discovery.dial import Tls, Unix
from sidewinder_sidecar.discovery.stream import Discovery
from sidewinder_sidecar.identity.files import Files
from tests.support.authority import Place, authority, now, trust
from tests.support.clock import eventually


@pytest.fixture(scope="module")
def operator():
    with authority() as one:
        yield one


@pytest.fixture
def place(tmp_path, operator):
    made = Place(tmp_path)
    made.mount(operator.trust)
    made.keep(operator.trust)
    return made


class Shown:
    """A certificate that is there already."""

    def __init__(self, place):
        self.place = place
        self.refusals = []

    async def ready(self):
        pass

    def context(self):
        return Files(self.place.settings()).load().context

    def on_refused(self, why):
        self.refusals.append(why)


def opened(place, port, host="localhost"):
    """Opens, says hello and hears one line."""

    async def run():
        channel = await Channel.open(Tls(host, port, Shown(place)))
        try:
            await channel.send(b'{"hello":{}}\n')
            return await asyncio.wait_for(channel.read(), 5)
        finally:
            channel.close()

    return uvloop.run(run())


def test_with_a_certificate_the_stream_begins(operator, place):
    operator.picture = {}
    assert opened(place, operator.port).startswith(b'{"begin":')
    (serial,) = {Files(place.settings()).load().leaf.serial}
    assert operator.shown[-1] == serial


def wrong(place, operator):
    yield "unknown ca", lambda: place.keep(trust())
    yield "certificate expired", lambda: place.keep(operator.trust, begins=now() - dt.timedelta(days=3))


@pytest.mark.parametrize("which", [0, 1])
def test_an_operator_that_refuses_our_certificate_is_understood(operator, place, which):
    """asyncio's servers close without the alert."""
    _, keep = list(wrong(place, operator))[which]
    keep()
    with pytest.raises(Unwelcome, match=r"https://localhost:\d+: closed without an answer"):
        opened(place, operator.port)


@pytest.mark.parametrize("which", [0, 1])
def test_an_operator_that_says_why_is_understood_better(operator, place, which):
    why, keep = list(wrong(place, operator))[which]
    keep()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=refuse, args=(listening, operator.credentials.server))
        serving.start()
        with pytest.raises(Unwelcome, match=why):
            opened(place, listening.getsockname()[1])
        serving.join(10)


def refuse(listening, context):
    """One connection, with the alert that OpenSSL writes; it is read before the socket is closed."""
    taken, _ = listening.accept()
    with taken:
        try:
            context.wrap_socket(taken, server_side=True, do_handshake_on_connect=True)
        except ssl.SSLError:
            taken.close()


def test_an_operator_of_another_mesh_is_not_spoken_to(place):
    with authority() as other:
        with pytest.raises(Broken, match="the server's certificate is not accepted: ") as broken:
            opened(place, other.port)
        assert not isinstance(broken.value, Unwelcome)
        assert other.shown == []


def test_an_operator_of_another_name_is_not_spoken_to(operator, place):
    with pytest.raises(Broken, match=r"not accepted: .*127\.0\.0\.1"):
        opened(place, operator.port, "127.0.0.1")


def test_tls_12_is_not_spoken(place):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(place.identity / "certificate.pem", place.identity / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=refuse, args=(listening, context))
        serving.start()
        with pytest.raises(Broken, match="alert protocol version") as broken:
            opened(place, listening.getsockname()[1])
        assert not isinstance(broken.value, Unwelcome)
        serving.join(10)


def test_one_that_accepts_and_says_nothing_is_left(place, monkeypatch):
    monkeypatch.setattr(module, "HANDSHAKE_SECONDS", 0.2)
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Broken, match="handshake"):
        opened(place, silent.getsockname()[1])
    assert time.monotonic() - began < 5


def test_one_that_closes_is_told(place):
    async def run():
        async def leave(reader, writer):
            writer.close()

        server = await asyncio.start_server(leave, "127.0.0.1", 0)
        async with server:
            with pytest.raises(Broken, match="localhost"):
                await Channel.open(Tls("localhost", server.sockets[0].getsockname()[1], Shown(place)))

    uvloop.run(run())


def test_without_a_certificate_nothing_is_opened(operator, place):
    class Nothing(Shown):
        def context(self):
            raise OSError(0, "there is no certificate: refused with 401")

    async def run():
        await Channel.open(Tls("localhost", operator.port, Nothing(place)))

    with pytest.raises(Broken, match=r"https://localhost:\d+: there is no certificate: refused with 401"):
        uvloop.run(run())


def test_nobody_is_there(place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unreached, match=f"https://localhost:{port}: Connection refused"):
        opened(place, port)


def test_a_name_that_is_none(place):
    with pytest.raises(Broken, match=r"nowhere\.invalid:1: the name cannot be resolved: "):
        opened(place, 1, "nowhere.invalid")
    with pytest.raises(Broken, match="no name that can be resolved"):
        opened(place, 1, "x" * 64 + ".invalid")


def test_the_second_address_is_tried_when_the_first_does_not_answer(operator, place, monkeypatch):
    """A Service of two families, one of which is not routed: 192.0.2.1 is nobody's (RFC 5737)."""
    monkeypatch.setattr(module, "ADDRESS_SECONDS", 0.2)
    found = [(socket.AF_INET, 1, 6, "", ("192.0.2.1", operator.port)),
             (socket.AF_INET, 1, 6, "", ("127.0.0.1", operator.port))]  # fmt: skip
    monkeypatch.setattr(module.socket, "getaddrinfo", lambda *_, **__: found)
    operator.picture = {}
    assert opened(place, operator.port).startswith(b'{"begin":')


def test_a_resolver_that_hangs_is_asked_once(place, monkeypatch):
    """However often it is tried, one thread waits; and what it finds at last serves whoever asks then."""
    asked, answer = [], threading.Event()

    def hang(*_, **__):
        asked.append(1)
        answer.wait(20)
        return []

    monkeypatch.setattr(module.socket, "getaddrinfo", hang)

    async def run():
        tls = Tls("localhost", 1, Shown(place))
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(tls.connect(), 0.05)
        assert len(asked) == 1
        answer.set()
        with pytest.raises(OSError, match="localhost has no address"):
            await tls.connect()

    uvloop.run(asyncio.wait_for(run(), 10))


class Names:
    """A name server whose only name is 127.0.0.1's, or that is away."""

    def __init__(self, monkeypatch):
        self.asked, self.away = 0, False
        monkeypatch.setattr(module.socket, "getaddrinfo", self.find)

    def find(self, *_, **__):
        self.asked += 1
        if self.away:
            raise OSError(-3, "Temporary failure in name resolution")
        return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 0))]


def test_while_nobody_listens_the_name_server_has_peace(place, monkeypatch):
    names = Names(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    async def run():
        tls = Tls("localhost", port, Shown(place))

        async def tries(count):
            for _ in range(count):
                with pytest.raises(module.Unreached):
                    await tls.connect()

        await tries(20)
        assert names.asked == 1
        monkeypatch.setattr(module, "RESOLVED_SECONDS", 0.0)
        tls._known_until = 0.0
        await tries(3)
        assert names.asked == 4, "it may have another address by now"

    uvloop.run(asyncio.wait_for(run(), 10))


@pytest.mark.parametrize("hangs", [False, True])
def test_without_a_name_server_the_last_address_serves_on(operator, place, monkeypatch, hangs):
    names, answer = Names(monkeypatch), threading.Event()
    monkeypatch.setattr(module, "LOOKUP_SECONDS", 0.1)

    async def run():
        tls = Tls("localhost", operator.port, Shown(place))
        _, writer = await tls.connect()
        writer.transport.abort()
        await asyncio.sleep(0)
        names.away = True
        if hangs:
            monkeypatch.setattr(module.socket, "getaddrinfo", lambda *_, **__: answer.wait(20) and [])
        _, writer = await tls.connect()
        writer.transport.abort()
        await asyncio.sleep(0)
        answer.set()

    uvloop.run(asyncio.wait_for(run(), 10))


def test_who_is_reached_and_says_nothing_is_not_nobody(place, monkeypatch):
    """A try costs it something: it is not to be asked as often."""
    monkeypatch.setattr(module, "HANDSHAKE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Broken) as broken:
        opened(place, silent.getsockname()[1])
    assert not isinstance(broken.value, Unreached)


def test_a_refusal_is_handed_on(place):
    shown = Shown(place)
    Tls("localhost", 1, shown).on_refused("unknown ca")
    assert shown.refusals == ["unknown ca"]


def test_how_they_are_called(place):
    assert str(Tls("2001:db8::1", 15012, Shown(place))) == "https://[2001:db8::1]:15012"
    assert str(Tls("operator.svc", 15012, Shown(place))) == "https://operator.svc:15012"
    assert str(Unix("/run/d.sock")) == "/run/d.sock"


def test_a_stream_that_falls_silent_is_left_and_another_one_begun(operator, place):
    """A network that swallows everything, as a node that has lost power: no end, no reset."""
    operator.picture = {}
    before = len(operator.hellos)

    async def run():
        passing, carried = asyncio.Event(), set()
        passing.set()

        async def carry(reader, writer):
            there, back = await asyncio.open_connection("127.0.0.1", operator.port)
            carried.add(writer)
            try:
                await asyncio.gather(pump(reader, back), pump(there, writer))
            finally:
                for each in (writer, back):
                    each.transport.abort()
                carried.discard(writer)

        async def pump(reader, writer):
            while data := await reader.read(65536):
                if passing.is_set():
                    writer.write(data)
            writer.close()

        relay = await asyncio.start_server(carry, "127.0.0.1", 0)
        port = relay.sockets[0].getsockname()[1]

        async def apply(resources):
            pass

        discovery = Discovery(Tls("localhost", port, Shown(place)), apply, ping_seconds=0.3)
        running = asyncio.create_task(discovery.run())
        await eventually(lambda: discovery.connected)
        began = time.monotonic()
        passing.clear()
        await eventually(lambda: not discovery.connected, 15)
        waited = time.monotonic() - began
        passing.set()
        await eventually(lambda: discovery.connected and len(operator.hellos) >= before + 2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        relay.close()
        for writer in carried:  # nothing is left open: closing a loop that has connections may take for ever
            writer.transport.abort()
        await eventually(lambda: not carried)
        return waited

    assert uvloop.run(asyncio.wait_for(run(), 30)) > 1.0  # four silences of 0.3 s, less what had passed of the first
