"""TLS over bytes already read, on the pinned uvloop: however the hello is cut, what follows arrives once, in order."""

from __future__ import annotations

import asyncio
import ssl
from importlib import metadata

import pytest

from sidewinder_sidecar.tls.layer import accept
from tests.support.sockets import certificate, run, until

DATA = b"what comes with Finished, "


def test_the_version_that_this_was_tried_with():
    assert metadata.version("uvloop") == "0.23.0", "SSLProtocol is semi-private: read tls/layer.py, then move this"


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"))


class Behind(asyncio.Protocol):
    """What speaks over TLS; and the waiter."""

    def __init__(self):
        self.heard = []
        self.transport = None
        self.result = "pending"
        self.lost = False

    def connection_made(self, transport):
        assert not self.heard
        self.transport = transport

    def data_received(self, data):
        self.heard.append(data)

    def connection_lost(self, exc):
        self.lost = True

    def cancelled(self):
        return False

    def set_result(self, nothing):
        self.result = "done"

    def set_exception(self, error):
        self.result = type(error).__name__


class Reads(asyncio.Protocol):
    """Reads `size` bytes before TLS is put on."""

    def __init__(self, behind, context, size, seconds=5.0):
        self.behind, self.context, self.size, self.seconds = behind, context, size, seconds
        self.seen = b""
        self.done = False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        assert not self.done, "bytes went to the old protocol"
        self.seen += data
        if len(self.seen) >= self.size:
            self.done = True
            accept(self.transport, self.context, self.behind, self.seen, self.seconds)


def play(contexts, size, case, seconds=5.0):
    async def main():
        behind = Behind()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Reads(behind, contexts[0], size, seconds), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        try:
            await case(behind, reader, writer)
        finally:
            writer.close()
            server.close()
            await until(lambda: behind.lost or behind.result != "done")

    run(main)


class Client:
    """TLS in memory, its bytes by hand."""

    def __init__(self, context):
        self.down, self.up = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.down, self.up, server_hostname="test")

    def step(self):
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.up.read()


def hello_size(contexts):
    return len(Client(contexts[1]).step())


def test_at_every_cut_of_the_hello(contexts):
    whole = hello_size(contexts)

    def at(size):
        async def case(behind, reader, writer):
            client = Client(contexts[1])
            writer.write(client.step())
            while behind.transport is None:
                client.down.write(await reader.read(65536))
                finished = client.step()
                client.tls.write(DATA)
                client.tls.write(b"and after it")
                writer.write(finished + client.up.read())
                await until(lambda: behind.transport)
            await until(lambda: b"".join(behind.heard) == DATA + b"and after it")
            behind.transport.write(b"answer")
            client.down.write(await reader.read(65536))
            while True:
                try:
                    assert client.tls.read(100) == b"answer"
                    break
                except ssl.SSLWantReadError:
                    client.down.write(await reader.read(65536))
            assert behind.result == "done"
            behind.transport.abort()

        return case

    for size in (*range(1, whole, 7), whole - 1, whole):
        play(contexts, size, at(size))


def test_byte_by_byte(contexts):
    async def case(behind, reader, writer):
        client = Client(contexts[1])

        async def trickle(data):
            for at in range(len(data)):
                writer.write(data[at : at + 1])
                await asyncio.sleep(0)

        await trickle(client.step())
        while behind.transport is None:
            client.down.write(await reader.read(65536))
            finished = client.step()
            if not finished:
                continue
            client.tls.write(DATA)
            await trickle(finished + client.up.read())
            await until(lambda: behind.transport)
        await until(lambda: b"".join(behind.heard) == DATA)
        behind.transport.abort()

    play(contexts, 6, case)


@pytest.mark.parametrize(
    ("said", "result"),
    [
        (b"\x16\x03\x01\x00\x05hello", "SSLError"),
        (b"\x16\x03\x01\x40\x01" + b"\0" * 20000, "SSLError"),
        (b"GET / HTTP/1.1\r\n\r\n", "SSLError"),
    ],
    ids=["no hello", "too long a record", "no TLS"],
)
def test_what_is_no_tls_is_told_and_closed(contexts, said, result):
    async def case(behind, reader, writer):
        writer.write(said)
        await until(lambda: behind.result == result)
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass
        assert behind.transport is None

    play(contexts, 5, case)


def test_who_leaves_and_who_stalls_is_told(contexts):
    async def leaves(behind, reader, writer):
        writer.write(Client(contexts[1]).step())
        await reader.read(1)
        writer.close()
        await until(lambda: behind.result == "ConnectionResetError")

    async def stalls(behind, reader, writer):
        writer.write(Client(contexts[1]).step())
        await until(lambda: behind.result == "ConnectionAbortedError")

    play(contexts, 5, leaves)
    play(contexts, 5, stalls, 0.2)
