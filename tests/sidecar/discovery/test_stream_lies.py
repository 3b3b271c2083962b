"""A server that lies: its stream is left, the reason said, and what is held serves on."""

import pytest

from sidewinder_sidecar.discovery import stream as client
from sidewinder_sidecar.snapshot import stream
from tests.support.discovery import HEAD, transaction
from tests.support.streamed import converse, endpoints, started


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(client, "LONGEST_PAUSE", 0.02)


def lie(*lines, head=HEAD, raw=None):
    async def script(line):
        await line.begin(head)
        if raw is not None:
            line.writer.write(raw)
        elif head is HEAD:
            await line.hear()
            line.say(*lines)
        await line.gone()

    return script


BEGIN = stream.encode(stream.Begin(1, "x"))


LIES = {
    "refused by status": (lie(head=b"HTTP/1.1 403 Forbidden\r\n\r\n"), "403 Forbidden"),
    "another version": (lie(head=b"HTTP/1.0 200 OK\r\n\r\n"), "not HTTP/1.1"),
    "not chunked": (lie(head=b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"), "not chunked"),
    "no HTTP": (lie(head=b"SSH-2.0-x\r\n\r\n"), "not HTTP/1.1"),
    "an endless head": (lie(head=b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000), "no HTTP/1.1 head"),
    "no chunk size": (lie(raw=b"zz\r\n"), "no chunk size"),
    "a huge chunk size": (lie(raw=b"fffffffff\r\n"), "no chunk size"),
    "an endless chunk size": (lie(raw=b"0" * 200_000), "closed by the other end"),
    "the last chunk": (lie(raw=b"0\r\n\r\n"), "ended by the other end"),
    "no JSON": (lie(b"hello\n"), "not a JSON object"),
    "not UTF-8": (lie(b'{"begin":1,"state":"\xff"}\n'), "begin: "),
    "an array": (lie(b"[1]\n"), "not a JSON object"),
    "no known message": (lie(b'{"become":1}\n'), "no known message among ['become']"),
    "an unknown field": (lie(b'{"begin":1,"state":"x","more":1}\n'), "more"),
    "a wrong type": (lie(b'{"begin":"one","state":"x"}\n'), "Expected `int`"),
    "a client's message": (lie(b'{"ack":1,"state":"x"}\n'), "no known message"),
    "an empty line": (lie(b"\n"), "not a JSON object"),
    "two begins": (lie(BEGIN, BEGIN), "within transaction"),
    "a commit alone": (lie(stream.encode(stream.Commit(1))), "outside of a transaction"),
    "a set alone": (lie(transaction(1, endpoints("a"))[1]), "outside of a transaction"),
    "another commit": (lie(BEGIN, stream.encode(stream.Commit(2))), "commit 2 within"),
}


@pytest.mark.parametrize(("script", "said"), LIES.values(), ids=LIES)
def test_a_stream_that_lies_is_left_said_and_tried_again(tmp_path, caplog, script, said):
    async def honest(line):
        await started(line)
        line.say(*transaction(1, endpoints("a")))
        await line.hear()

    sidecar, discovery = converse(tmp_path, script, honest, until=lambda sidecar, _: sidecar.applied)
    assert said in caplog.text
    assert sidecar.applied == [["endpoints/a"]]
    assert discovery.refused == 0


def test_a_line_without_end_is_left(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("sidewinder_sidecar.discovery.channel.LONGEST_LINE", 100_000)

    async def endless(line):
        await started(line)
        while True:
            line.say(b"x" * 10_000)
            await line.writer.drain()

    converse(tmp_path, endless, started, until=lambda _, discovery: discovery.connections >= 2)
    assert "a line of more than 100000 bytes" in caplog.text


def test_a_cut_transaction_is_nothing(tmp_path):
    async def cut(line):
        await started(line)
        line.say(*transaction(1, endpoints("a"))[:-1])

    async def honest(line):
        await line.begin()
        assert (await line.hear()).hello.has == {}
        line.say(*transaction(1, endpoints("b")))
        await line.hear()

    sidecar, _ = converse(tmp_path, cut, honest)
    assert sidecar.applied == [["endpoints/b"]]


def test_a_wrong_version_is_a_nack(tmp_path):
    async def script(line):
        await started(line)
        lines = transaction(1, endpoints("a"))
        line.say(lines[0], lines[1].replace(b'"name":"a"', b'"name":"z"'), lines[2])
        nack = await line.hear()
        assert (nack.resource, nack.state) == ("endpoints/a", "")
        assert "hash" in nack.why
        line.say(*transaction(2, endpoints("b"), state="f" * 16))
        assert "leads to state" in (await line.hear()).why

    converse(tmp_path, script)
