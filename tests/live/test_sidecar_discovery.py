"""The whole process with a discovery server: follows, refuses, remembers."""

import asyncio
import threading
from contextlib import contextmanager

import pytest

from sidewinder_sidecar.snapshot import decode, stream
from tests.support.discovery import Server, transaction
from tests.support.sidecar import backend, sidecar, snapshot

pytestmark = pytest.mark.live


class Operator:
    """Publishes pictures from a thread; `answers` are acks and nacks."""

    def __init__(self, path):
        self.path = path
        self.answers, self.hellos = [], []
        self.loop = asyncio.new_event_loop()
        self.queue: asyncio.Queue = asyncio.Queue()
        self.server = Server(self.script)
        self.picture = None
        self.number = 0
        self.has: set[str] = set()

    async def script(self, line):
        await line.begin()
        self.hellos.append((await line.hear()).hello)
        self.has = set(self.hellos[-1].has)
        if self.picture is not None:
            await self.send(line)
        while True:
            self.picture = await self.queue.get()
            await self.send(line)

    async def send(self, line):
        self.number += 1
        line.say(*transaction(self.number, self.picture, *sorted(self.has - set(self.picture))))
        answer = await line.hear()
        if isinstance(answer, stream.Ack):
            self.has = set(self.picture)
        self.answers.append(answer)

    def publish(self, picture):
        bodies = {name: decode(name, stream.msgspec.json.encode(body)) for name, body in picture.items()}
        self.loop.call_soon_threadsafe(self.queue.put_nowait, bodies)


@contextmanager
def operator(path):
    one = Operator(path)
    thread = threading.Thread(target=one.loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(one.server.open(path), one.loop).result(5)
    try:
        yield one
    finally:
        asyncio.run_coroutine_threadsafe(one.server.close(), one.loop).result(5)
        one.loop.call_soon_threadsafe(one.loop.stop)
        thread.join(5)
        one.loop.close()


def test_it_follows_refuses_and_remembers(tmp_path):
    path = str(tmp_path / "d.sock")
    settings = {"DISCOVERY": f"unix:{path}", "KEEP": str(tmp_path / "kept")}
    with backend() as old, backend() as new:
        with operator(path) as up, sidecar(tmp_path, **settings) as proxy:
            assert proxy.ask(proxy.port("probe"), "/readyz").status == 503
            up.publish(snapshot(old.port))
            port = proxy.ready()
            assert proxy.ask(port, "/1").status == 200
            assert isinstance(up.answers[0], stream.Ack)
            up.publish(snapshot(new.port))
            proxy.wait(lambda: len(up.answers) == 2)
            assert proxy.ask(port, "/2").status == 200
            assert (len(old.asked), len(new.asked)) == (1, 1)
            # refused: a route that leads nowhere
            broken = snapshot(new.port) | {"route/shop/reviews": {"name": "shop/reviews", "rules": [
                {"name": "r", "backends": [{"backend": "nobody"}]}]}}  # fmt: skip
            up.publish(broken)
            proxy.wait(lambda: len(up.answers) == 3)
            nack = up.answers[2]
            assert (nack.resource, nack.state) == ("route/shop/reviews", up.answers[1].state)
            assert "nobody" in nack.why
            assert proxy.ask(port, "/3").status == 200
            metrics = proxy.metrics()
            assert "sidewinder_config_applied_total 2\n" in metrics
            assert "sidewinder_config_refused_total 1\n" in metrics
            assert "sidewinder_discovery_connected 1\n" in metrics
            proxy.terminate()
            assert proxy.exit() == 0
        # nobody is there any more: the last good configuration serves
        with sidecar(tmp_path, **settings) as proxy:
            port = proxy.ready()
            assert proxy.ask(port, "/4").status == 200
            assert proxy.ask(proxy.port("admin"), "/config").json()["source"] == "kept"
            # and when somebody comes back, it says what it has
            with operator(path) as up:
                proxy.wait(lambda: up.hellos)
                assert up.hellos[0].state == nack.state
                assert up.hellos[0].epoch >= 2
            proxy.terminate()
            assert proxy.exit() == 0


def test_listeners_follow(tmp_path):
    path = str(tmp_path / "d.sock")
    with backend() as app, operator(path) as up, sidecar(tmp_path, DISCOVERY=f"unix:{path}") as proxy:
        first = snapshot(app.port)
        up.publish(first)
        port = proxy.ready()
        moved = dict(first)
        moved["listener/other"] = dict(moved.pop("listener/in"), name="other")
        up.publish(moved)
        proxy.wait(lambda: len(up.answers) == 2)
        probe = proxy.port("probe")
        listeners = proxy.ask(probe, "/readyz").json()["listeners"]
        assert list(listeners) == ["other"]
        assert proxy.ask(listeners["other"], "/").status == 200
        with pytest.raises(ConnectionError):
            proxy.ask(port, "/")
        # the same socket under another name: no connection is refused in between
        fixed = dict(moved["listener/other"], port=listeners["other"])
        taken = moved | {"listener/other": fixed}
        up.publish(taken)
        proxy.wait(lambda: len(up.answers) == 3)


def test_a_kept_configuration_that_is_damaged(tmp_path):
    kept = tmp_path / "kept"
    kept.write_bytes(b"\x00" * 100)
    path = str(tmp_path / "d.sock")
    with backend() as app, operator(path) as up:
        with sidecar(tmp_path, DISCOVERY=f"unix:{path}", KEEP=str(kept)) as proxy:
            up.publish(snapshot(app.port))
            assert proxy.ask(proxy.ready(), "/").status == 200
            assert "set aside" in proxy.errors.read_text()
            assert (tmp_path / "kept.refused").exists()
            proxy.terminate()
            assert proxy.exit() == 0
        assert kept.stat().st_mode & 0o777 == 0o600
