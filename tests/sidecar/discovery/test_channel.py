import asyncio

import pytest
import uvloop

from sidewinder_sidecar.discovery import channel
from sidewinder_sidecar.discovery.channel import Broken, Channel
from sidewinder_sidecar.discovery.dial import Unix
from tests.support.discovery import Server


def talked(tmp_path, script, work):
    path = str(tmp_path / "d.sock")

    async def run():
        server = Server(script)
        await server.open(path)
        try:
            opened = await Channel.open(Unix(path))
            try:
                return await asyncio.wait_for(work(opened), 10)
            finally:
                opened.close()
        finally:
            await server.close()

    return uvloop.run(run())


def test_lines_of_any_size_in_any_chunks(tmp_path):
    lines = [b"a" * size for size in (0, 1, 70_000, 300_000, 3)]

    async def script(line):
        await line.begin()
        line.say(*(one + b"\n" for one in lines), pieces=9_999)
        await line.gone()

    async def work(opened):
        return [await opened.read() for _ in lines]

    assert talked(tmp_path, script, work) == lines


def test_chunk_extensions_are_passed_over(tmp_path):
    async def script(line):
        await line.begin()
        line.writer.write(b"2;x=y\r\na\n\r\n")
        await line.gone()

    assert talked(tmp_path, script, lambda opened: opened.read()) == b"a"


def test_a_cancelled_read_loses_nothing(tmp_path):
    async def script(line):
        await line.begin()
        line.say(b"ab")
        await line.hear()
        line.say(b"cd\n")
        await line.gone()

    async def work(opened):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(opened.read(), 0.05)
        await opened.send(b'{"pong":1}\n')
        return await opened.read()

    assert talked(tmp_path, script, work) == b"abcd"


def test_a_server_that_reads_nothing_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(channel, "SEND_SECONDS", 0.05)

    async def script(line):
        await line.begin()
        line.reader._transport.pause_reading()
        await asyncio.sleep(5)

    async def work(opened):
        with pytest.raises(Broken, match="has read nothing"):
            await opened.send(b"x" * 10_000_000 + b"\n")

    talked(tmp_path, script, work)


def test_a_server_that_does_not_answer_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(channel, "OPEN_SECONDS", 0.05)

    async def script(line):
        await line.gone()

    with pytest.raises(Broken, match="no answer within"):
        talked(tmp_path, script, lambda opened: opened.read())


def test_no_socket():
    with pytest.raises(Broken, match=r"/nowhere/x: No such file"):
        uvloop.run(Channel.open(Unix("/nowhere/x")))


def test_a_line_that_need_not_be_waited_for(tmp_path):
    heard = []

    async def script(line):
        await line.begin()
        heard.append((await line.hear()).ack)
        await line.gone()

    async def work(opened):
        opened.post(b'{"ack":7,"state":"x"}\n')
        while not heard:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    talked(tmp_path, script, work)
    assert heard == [7]


def test_such_lines_do_not_pile_up_before_who_does_not_read(tmp_path):
    read = asyncio.Event()

    async def script(line):
        await line.begin()
        await read.wait()

    async def work(opened):
        for _ in range(10_000):
            opened.post(b"x" * 1000)
        waiting = opened._writer.transport.get_write_buffer_size()
        read.set()
        opened.close()
        opened.post(b"after the end")
        return waiting

    assert talked(tmp_path, script, work) <= channel.UNREAD + 2000


def test_sending_after_the_end_is_broken_and_no_bug(tmp_path):
    async def script(line):
        await line.begin()
        await line.gone()

    async def work(opened):
        opened.close()
        await asyncio.sleep(0.01)
        with pytest.raises(Broken, match="closed"):
            await opened.send(b"x\n")

    talked(tmp_path, script, work)
