import asyncio
import gc
import signal
import socket

import pytest
import uvloop

from sidewinder_sidecar.main import process
from sidewinder_sidecar.main.process import Process, Unable
from sidewinder_sidecar.settings import Limits, Settings


@pytest.fixture(autouse=True)
def _as_it_was():
    yield
    gc.unfreeze()


def settings(**more):
    return Settings(
        **({"access_log": "off", "probe_address": "127.0.0.1", "probe_port": 0, "admin_port": 0} | more),
    )


def test_from_settings_to_the_last_word():
    async def run():
        one = Process(settings())
        running = asyncio.create_task(one.run())
        while not one.admin.address[1]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        assert one.probe.address[1] != one.admin.address[1]
        one._on_signal(signal.SIGTERM)
        await asyncio.wait_for(running, 5)
        one.last_words()
        return one

    one = uvloop.run(run())
    assert one.proxy.draining
    assert not one.hurry.is_set()


def test_a_drain_is_bounded():
    async def run():
        one = Process(settings(limits=Limits(drain_seconds=0.05)))
        stuck = Stuck()
        one.proxy.running.add(stuck)
        await asyncio.wait_for(one.drain(), 5)
        return stuck.aborted

    assert uvloop.run(run()) == ["draining"]


def test_the_second_signal_hurries():
    async def run():
        one = Process(settings(limits=Limits(drain_seconds=60.0)))
        one.proxy.running.add(Stuck())
        one._on_signal(signal.SIGTERM)
        draining = asyncio.create_task(one.drain())
        await asyncio.sleep(0.05)
        one._on_signal(signal.SIGTERM)
        await asyncio.wait_for(draining, 5)

    uvloop.run(run())


class Stuck:
    """An exchange that never ends."""

    def __init__(self):
        self.aborted = []

    def abort(self, error, detail):
        self.aborted.append(error)


def test_an_access_log_that_cannot_be_opened():
    async def run():
        Process(settings(access_log="/nowhere/log"))

    with pytest.raises(Unable, match="SIDEWINDER_ACCESS_LOG='/nowhere/log': No such file"):
        uvloop.run(run())


def test_an_access_log_in_a_file(tmp_path):
    async def run():
        one = Process(settings(access_log=str(tmp_path / "log")))
        return one.recorder.access_log.writer.descriptor

    assert uvloop.run(run()) > 2
    assert (tmp_path / "log").exists()


def test_a_port_that_is_taken():
    async def run(port):
        await Process(settings(probe_port=port)).run()

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unable, match=f"SIDEWINDER_PROBE_PORT={port}"):
            uvloop.run(run(port))


def test_who_the_spans_are_from():
    async def run():
        one = Process(settings(otlp_endpoint="http://127.0.0.1:9"))
        return one._target()

    target = uvloop.run(run())
    assert target.endpoint == "http://127.0.0.1:9"
    assert target.resource["service.name"] == "sidewinder"


def test_unable_is_said(capsys):
    assert process.unable(Unable("why")) == 1
    assert capsys.readouterr().err == "sidewinder-sidecar: why\n"
