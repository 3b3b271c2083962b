"""Pieces and ends: cut anywhere they are the same; over real TLS each side's end is told by itself."""

from __future__ import annotations

import asyncio

import pytest

from sidewinder_sidecar.tls.frames import END, LARGEST, BadFrame, Framed, Frames, framed
from tests.support.sockets import certificate, run, until


def test_nothing_is_no_piece():
    assert framed(b"") == b""
    assert framed(b"abc") == b"\0\0\0\x03abc"


def test_however_it_is_cut():
    said = framed(b"hello ") + framed(b"w") + framed(b"orld") + END
    for cut in range(len(said) + 1):
        frames = Frames()
        assert frames.feed(said[:cut]) + frames.feed(said[cut:]) == b"hello world"
        assert frames.ended
    frames = Frames()
    assert b"".join(frames.feed(said[at : at + 1]) for at in range(len(said))) == b"hello world"
    assert frames.ended


def test_a_piece_may_be_too_large_for_one():
    data = b"x" * (LARGEST + 5)
    said = framed(data)
    assert len(said) == len(data) + 8
    assert Frames().feed(said) == data


@pytest.mark.parametrize("said", [END + b"x", b"\x02\0\0\0"], ids=["after the end", "longer than any"])
def test_who_is_none_of_us(said):
    with pytest.raises(BadFrame):
        Frames().feed(said)


class Side(asyncio.Protocol):
    """What stands on the frames."""

    def __init__(self):
        self.transport = None
        self.heard = b""
        self.eofs = 0
        self.lost = False
        self.full = False
        self.stays = True

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.heard += data

    def eof_received(self):
        self.eofs += 1
        return self.stays

    def pause_writing(self):
        self.full = True

    def resume_writing(self):
        self.full = False

    def connection_lost(self, exc):
        self.lost = True


class Start(asyncio.Protocol):
    """Puts frames on TLS."""

    def __init__(self, side):
        self.side = side

    def connection_made(self, transport):
        Framed(transport).carry(self.side)


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"))


def play(contexts, case):
    async def main():
        loop = asyncio.get_running_loop()
        here, there = Side(), Side()
        server = await loop.create_server(lambda: Start(there), "127.0.0.1", 0, ssl=contexts[0], ssl_shutdown_timeout=1)
        port = server.sockets[0].getsockname()[1]
        await loop.create_connection(
            lambda: Start(here), "127.0.0.1", port, ssl=contexts[1], server_hostname="test", ssl_shutdown_timeout=1
        )
        await until(lambda: there.transport)
        try:
            await case(here, there)
        finally:
            server.close()

    run(main)


def test_each_sides_end_is_its_own(contexts):
    async def case(here, there):
        here.transport.write(b"all of it")
        here.transport.write_eof()
        here.transport.write(b"too late")
        await until(lambda: there.eofs)
        assert there.heard == b"all of it"
        there.transport.write(b"the answer")
        await until(lambda: here.heard == b"the answer")
        assert not here.eofs
        here.stays = False
        there.transport.write_eof()
        await until(lambda: here.lost and there.lost)
        assert (here.eofs, there.eofs) == (1, 1)

    play(contexts, case)


def test_a_close_says_the_end_first(contexts):
    async def case(here, there):
        here.transport.writelines([b"x" * 300_000, b"y"])
        here.transport.close()
        await until(lambda: there.lost)
        assert (len(there.heard), there.eofs) == (300_001, 1)
        await until(lambda: here.lost)
        assert not here.eofs

    play(contexts, case)


def test_what_is_cut_is_not_ended(contexts):
    async def case(here, there):
        here.transport.write(b"half")
        await until(lambda: there.heard == b"half")
        here.transport.abort()
        await until(lambda: there.lost)
        assert there.eofs == 0

    play(contexts, case)


def test_who_breaks_the_rules_is_cut(contexts):
    async def case(here, there):
        here.transport.outer.write(b"\xff\xff\xff\xff")
        await until(lambda: there.lost and here.lost)
        assert (there.heard, there.eofs) == (b"", 0)

    play(contexts, case)


def test_the_pace_is_passed_on(contexts):
    async def case(here, there):
        here.transport.set_write_buffer_limits(65536)
        there.transport.pause_reading()
        for _ in range(400):
            here.transport.write(b"x" * 65536)
            await asyncio.sleep(0)
            if here.full:
                break
        assert here.full
        assert here.transport.get_write_buffer_size() > 0
        there.transport.resume_reading()
        await until(lambda: not here.full, 10)
        here.transport.close()
        await until(lambda: there.lost, 10)

    play(contexts, case)


def test_another_may_go_on_with_it(contexts):
    async def case(here, there):
        heir = Side()
        there.transport.set_protocol(heir)
        here.transport.write(b"for the heir")
        await until(lambda: heir.heard)
        assert there.heard == b""
        assert there.transport.get_extra_info("sidewinder.frames") is there.transport
        assert there.transport.get_extra_info("sslcontext") is contexts[0]
        assert there.transport.is_closing() is False
        here.transport.abort()
        await until(lambda: heir.lost)

    play(contexts, case)
