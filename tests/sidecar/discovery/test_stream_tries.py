"""When another stream is begun, and how long after one that failed."""

import asyncio

import pytest
import uvloop

from sidewinder_sidecar.discovery import stream as client
from sidewinder_sidecar.discovery.dial import Unix
from sidewinder_sidecar.discovery.dial import Unreached as Nobody
from sidewinder_sidecar.discovery.stream import Discovery
from sidewinder_sidecar.snapshot import stream
from tests.support.clock import eventually
from tests.support.discovery import transaction
from tests.support.streamed import Sidecar, converse, endpoints, started


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(client, "LONGEST_PAUSE", 0.02)


def test_nobody_is_there(tmp_path, caplog):
    async def run():
        discovery = Discovery(Unix(str(tmp_path / "none.sock")), Sidecar().apply)
        running = asyncio.create_task(discovery.run())
        await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    uvloop.run(run())
    assert caplog.text.count("No such file") == 1  # said once, tried often


def test_a_successor_that_cannot_be_had_costs_nothing_while_this_stream_lasts(tmp_path):
    async def first(line):
        await started(line)
        line.say(stream.encode(stream.Goodbye("rebalance", 1)))
        await asyncio.sleep(0.1)
        line.say(*transaction(1, endpoints("a")))
        assert (await line.hear()).ack == 1
        await line.gone()

    async def busy(line):
        await line.begin(b"HTTP/1.1 503 Busy\r\n\r\n")
        await line.gone()

    async def third(line):
        await line.begin()
        assert list((await line.hear()).hello.has) == ["endpoints/a"]

    busies = [busy] * 40  # longer than the first stream waits, at these pauses
    sidecar, _ = converse(tmp_path, first, *busies, third, until=lambda _, discovery: discovery.connections >= 2)
    assert sidecar.applied == [["endpoints/a"]]


def test_a_try_that_fails_late_is_no_stream_that_has_lasted(monkeypatch):
    """A crowd that waits in vain for its turn must come back ever more slowly, however long it waited."""
    bounds = []
    monkeypatch.setattr(client.random, "uniform", lambda low, high: bounds.append(high) or 0.0)

    class Late(Unix):
        async def connect(self):
            await asyncio.sleep(2 * client.LONGEST_PAUSE)
            raise OSError(0, "nobody's turn")

    async def run():
        running = asyncio.create_task(Discovery(Late("x"), Sidecar().apply).run())
        await eventually(lambda: len(bounds) >= 4)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    uvloop.run(asyncio.wait_for(run(), 10))
    assert bounds[:4] == [0.005, 0.01, 0.02, 0.02]


def test_while_nobody_listens_it_looks_often_and_who_is_turned_away_ever_less(monkeypatch):
    bounds = []
    monkeypatch.setattr(client.random, "uniform", lambda low, high: bounds.append(high) or 0.0)
    monkeypatch.setattr(client, "SHORTEST_WATCH", 0.01)

    class Away(Unix):
        async def connect(self):
            raise Nobody(111, "Connection refused") if len(bounds) < 5 else OSError(0, "turned away")

    async def run():
        running = asyncio.create_task(Discovery(Away("x"), Sidecar().apply).run())
        await eventually(lambda: len(bounds) >= 7)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    uvloop.run(asyncio.wait_for(run(), 10))
    assert bounds[:7] == [0.005, 0.01, 0.01, 0.01, 0.01, 0.02, 0.02]


def test_how_often_it_looks_depends_on_how_long_it_lasts(monkeypatch):
    monkeypatch.undo()
    assert [client._watching(seconds) for seconds in (0.0, 59.0, 300.0, 86400.0)] == [1.0, 1.0, 5.0, 15.0]


def test_a_renewed_certificate_moves_the_stream_to_a_new_connection(tmp_path):
    moved = []

    async def first(line):
        await started(line)
        line.say(*transaction(1, endpoints("a")))
        await line.hear()
        await line.gone()
        moved.append("left")

    async def second(line):
        await line.begin()
        moved.append("came")
        hello = (await line.hear()).hello
        assert list(hello.has) == ["endpoints/a"]
        await line.gone()

    def until(sidecar, discovery):
        if discovery.applied and not moved:
            discovery.reconnect()
        return moved == ["came", "left"] and discovery.connected

    _, discovery = converse(tmp_path, first, second, until=until)
    assert discovery.connections == 2
