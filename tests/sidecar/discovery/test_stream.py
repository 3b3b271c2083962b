"""None"""

import asyncio

import pytest
import uvloop

from sidewinder_sidecar.discovery import stream as client
from sidewinder_sidecar.discovery.dial import Unix
from sidewinder_sidecar.discovery.stream import Discovery
from sidewinder_sidecar.discovery.transaction import Held, Refusal
from sidewinder_sidecar.snapshot import state, stream
from tests.support.discovery import Server, transaction
from tests.support.streamed import Sidecar, converse, endpoints, started


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(client, "LONGEST_PAUSE", 0.02)


def test_a_transaction_is_applied_and_acknowledged(tmp_path):
    heard = []

    async def script(line):
        await line.begin()
        heard.append(await line.hear())
        line.say(*transaction(7, endpoints("a", "b")))
        heard.append(await line.hear())
        line.say(*transaction(8, endpoints("b"), "endpoints/a", only=set()))
        heard.append(await line.hear())

    sidecar, discovery = converse(tmp_path, script)
    hello, first, second = heard
    assert (hello.hello.has, hello.hello.state, hello.hello.epoch, hello.hello.build) == ({}, "", 1, "1")
    assert sidecar.applied == [["endpoints/a", "endpoints/b"], ["endpoints/b"]]
    assert (first.ack, second.ack) == (7, 8)
    assert second.state == discovery.held.state
    assert [held for held, _ in sidecar.kept] == [first.state, second.state]


def test_the_request_is_one_of_http(tmp_path):
    async def script(line):
        await line.begin()
        head = line.head.lower()
        assert head.startswith(b"post /discovery http/1.1\r\n")
        assert b"transfer-encoding: chunked\r\n" in head

    converse(tmp_path, script)


@pytest.mark.parametrize("pieces", [1, 2, 7, 100])
def test_chunks_may_be_cut_anywhere(tmp_path, pieces):
    async def script(line):
        await line.begin()
        await line.hear()
        line.say(*transaction(1, endpoints("a", "b")), pieces=pieces)
        assert isinstance(await line.hear(), stream.Ack)

    sidecar, _ = converse(tmp_path, script)
    assert len(sidecar.applied) == 1


def test_a_refusal_is_a_nack_and_what_is_held_serves_on(tmp_path):
    answers = []

    async def script(line):
        await line.begin()
        await line.hear()
        line.say(*transaction(1, endpoints("a")))
        answers.append(await line.hear())
        line.say(*transaction(2, endpoints("a", "b")))
        answers.append(await line.hear())
        line.say(*transaction(3, endpoints("a", "c")))
        answers.append(await line.hear())
        await line.gone()

    path = str(tmp_path / "discovery.sock")

    async def run():
        sidecar, server = Sidecar(), Server(script)
        await server.open(path)

        async def apply(resources):
            if "endpoints/b" in resources:
                raise Refusal("endpoints/b", "endpoints[0].port", "0 is no port")
            await sidecar.apply(resources)

        discovery = Discovery(Unix(path), apply)
        running = asyncio.create_task(discovery.run())
        while len(answers) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        running.cancel()
        await server.close()
        return sidecar, discovery

    sidecar, discovery = uvloop.run(asyncio.wait_for(run(), 10))
    first, nack, third = answers
    assert (nack.nack, nack.resource, nack.field, nack.why) == (2, "endpoints/b", "endpoints[0].port", "0 is no port")
    assert nack.state == first.state
    assert third.ack == 3
    assert sidecar.applied == [["endpoints/a"], ["endpoints/a", "endpoints/c"]]
    assert (discovery.applied, discovery.refused) == (2, 1)


def test_a_bug_is_a_nack_too(tmp_path, caplog):
    async def script(line):
        await line.begin()
        await line.hear()
        line.say(*transaction(1, endpoints("a")))
        nack = await line.hear()
        assert "a bug of the sidecar: ZeroDivisionError" in nack.why

    path = str(tmp_path / "discovery.sock")

    async def run():
        server = Server(script)
        await server.open(path)

        async def apply(resources):
            raise ZeroDivisionError

        discovery = Discovery(Unix(path), apply)
        running = asyncio.create_task(discovery.run())
        while not discovery.refused:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        running.cancel()
        await server.close()
        assert discovery.held.versions == {}

    uvloop.run(asyncio.wait_for(run(), 10))
    assert "Traceback" in caplog.text


def test_an_equal_set_is_an_empty_commit_and_not_applied_again(tmp_path):
    async def first(line):
        await line.begin()
        await line.hear()
        line.say(*transaction(1, endpoints("a")))
        await line.hear()

    async def second(line):
        await line.begin()
        hello = (await line.hear()).hello
        assert list(hello.has) == ["endpoints/a"]
        assert hello.state == state(hello.has)
        assert hello.epoch == 2
        line.say(*transaction(1, endpoints("a"), only=set()))
        assert (await line.hear()).ack == 1

    sidecar, _ = converse(tmp_path, first, second)
    assert sidecar.applied == [["endpoints/a"]]


def test_what_was_kept_is_told(tmp_path):
    kept = Held(endpoints("a"), {"endpoints/a": "v"})

    async def script(line):
        await line.begin()
        hello = (await line.hear()).hello
        assert (hello.has, hello.state, hello.epoch) == ({"endpoints/a": "v"}, kept.state, 42)

    converse(tmp_path, script, held=kept, epoch=41)


def test_pings_are_answered(tmp_path):
    async def script(line):
        await started(line)
        line.say(stream.encode(stream.Ping(5)))
        assert (await line.hear()).pong == 5

    converse(tmp_path, script)


def test_a_silent_server_is_asked_and_then_left(tmp_path, caplog):
    pings = []

    async def silent(line):
        await started(line)
        while True:
            pings.append((await line.hear()).ping)

    converse(tmp_path, silent, started, ping_seconds=0.02, until=lambda _, discovery: discovery.connections >= 2)
    assert pings[:3] == [1, 2, 3]
    assert "silent for" in caplog.text


def test_a_server_that_answers_pings_is_not_left(tmp_path):
    async def script(line):
        await started(line)
        for _ in range(8):
            line.say(stream.encode(stream.Pong((await line.hear()).ping)))

    _, discovery = converse(tmp_path, script, ping_seconds=0.02)
    assert discovery.connections == 1


def test_a_goodbye_makes_before_it_breaks(tmp_path):
    order = []

    async def first(line):
        await started(line)
        line.say(*transaction(1, endpoints("a")))
        await line.hear()
        line.say(stream.encode(stream.Goodbye("rebalance", 10)))
        await line.gone()
        order.append("old left")

    async def second(line):
        await line.begin()
        order.append("new came")
        assert (await line.hear()).hello.epoch == 2
        line.say(*transaction(1, endpoints("a", "b")))
        await line.hear()

    sidecar, discovery = converse(tmp_path, first, second)
    assert order == ["new came", "old left"]
    assert (len(sidecar.applied), discovery.connections) == (2, 2)


def test_a_goodbye_and_gone(tmp_path):
    async def first(line):
        await started(line)
        line.say(stream.encode(stream.Goodbye("shutdown", 10)))

    async def second(line):
        await started(line)

    _, discovery = converse(tmp_path, first, second)
    assert discovery.connections == 2


def test_a_replica_that_lags_is_left_for_another(tmp_path):
    held = Held(endpoints("a"), {"endpoints/a": "v"}, {"endpoints/a": ("uid", 9)})

    async def lagging(line):
        await started(line)
        begin, put, commit = transaction(1, endpoints("a"))
        line.say(begin, put.replace(b'"of":null', b'"of":["uid",3]'), commit)
        assert "older generation" in (await line.hear()).why
        await line.gone()

    sidecar, discovery = converse(tmp_path, lagging, started, held=held)
    assert sidecar.applied == []
    assert discovery.held is held


def test_a_burst_does_not_hold_the_loop(tmp_path):
    import time

    longest = 0.0

    async def script(line):
        await started(line)
        line.say(*transaction(1, endpoints(*(f"shop/{number}" for number in range(5000)))))
        nonlocal longest
        hearing = asyncio.ensure_future(line.hear())
        await line.writer.drain()
        last = time.thread_time()
        while not hearing.done():
            await asyncio.sleep(0)
            longest, last = max(longest, time.thread_time() - last), time.thread_time()
        assert hearing.result().ack == 1

    converse(tmp_path, script)
    assert longest < 0.25, (
        longest
    )  # of the thread's CPU; all of it takes longer, and a strict figure would time the machine
