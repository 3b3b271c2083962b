"""How a pod leaves, with the whole process: held back until nobody calls, then finished, whatever the others do."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sidewinder_operator.cli import drains
from sidewinder_sidecar.main.draining import QUIET_SECONDS
from sidewinder_sidecar.snapshot import stream
from tests.support import local_mesh
from tests.support.adversary import READ, Upstream
from tests.support.operator import Operator, operator
from tests.support.sidecar import Answer, Sidecar, Snapshot, backend, sidecar, snapshot

pytestmark = pytest.mark.live

POD = "pod-1"


def told(upstream: int, *, terminating: bool = False, named: bool = True, last_resort: bool = False) -> Snapshot:
    """A pod's configuration; `named`: others call it, so its own namespace's endpoints name it."""
    made = snapshot(upstream)
    made["proxy/self"] |= {"terminating": terminating, "last_resort": last_resort}
    endpoint = {"uid": POD, "address": "127.0.0.1", "port": 1, "ready": last_resort or not terminating}
    made["endpoints/shop/own:80"] = {"name": "shop/own:80", "endpoints": [endpoint] if named else []}
    return made


class Asking:
    """`GET /drain`, as a kubelet asks: in a thread, timed."""

    def __init__(self, proxy: Sidecar) -> None:
        self.proxy = proxy
        self.port = proxy.port("probe")
        self.began = time.monotonic()
        self.answer: Answer | None = None
        self.took = 0.0
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        self.answer = self.proxy.ask(self.port, "/drain")
        self.took = time.monotonic() - self.began

    def waits(self) -> bool:
        """Still, after a moment; the process says that it holds it back."""
        self.proxy.wait(lambda: "sidewinder_drain_held 1\n" in self.proxy.metrics())
        return self._thread.is_alive()

    def outcome(self, seconds: float = 10.0) -> str:
        self._thread.join(seconds)
        assert self.answer is not None
        assert self.answer.status == 200
        outcome: str = self.answer.json()["status"]
        return outcome


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[tuple[Sidecar, Operator]]:
    path = str(folder / "d.sock")
    with operator(path) as up, sidecar(folder, DISCOVERY=f"unix:{path}", POD_UID=POD, **settings) as proxy:
        yield proxy, up


def readiness(proxy: Sidecar) -> Any:
    return proxy.ask(proxy.port("probe"), "/readyz")


def test_an_application_may_end_when_nobody_calls_it_any_more(tmp_path: Path) -> None:
    with backend() as app, running(tmp_path, KEEP=str(tmp_path / "kept")) as (proxy, up):
        up.publish(told(app.port))
        port = proxy.ready()
        hook = Asking(proxy)
        assert hook.waits()
        assert readiness(proxy).status == 200, "asking changes nothing"
        assert "connection" not in proxy.ask(port, "/before").headers
        up.publish(told(app.port, terminating=True))
        proxy.wait(lambda: len(up.answers) == 2)
        assert readiness(proxy).json()["missing"] == ["draining"]
        during = proxy.ask(port, "/during")
        assert (during.status, during.headers["connection"]) == (200, "close")
        assert hook.waits()
        up.say(stream.Retired(2))
        assert hook.outcome() == "retired"
        assert Asking(proxy).outcome() == "retired"
        metrics = proxy.metrics()
        assert "sidewinder_draining 1\n" in metrics
        assert "sidewinder_drain_retired_seconds 0.0\n" not in metrics
        proxy.terminate()
        assert proxy.exit() == 0
        log = proxy.errors.read_text()
        assert "the pod is being deleted" in log
        assert "drained in" in log


def test_an_application_is_held_back_until_it_has_answered(tmp_path: Path) -> None:
    """It would drop what it answers: most do when they are told to end."""
    with backend() as app, running(tmp_path) as (proxy, up):
        up.publish(told(app.port))
        port = proxy.ready()
        slow = socket.create_connection(("127.0.0.1", port), 10)
        slow.sendall(b"GET /slow HTTP/1.1\r\nHost: reviews\r\n\r\n")
        proxy.wait(lambda: any(one["path"] == "/slow" for one in app.asked))
        hook = Asking(proxy)
        assert hook.waits()
        up.publish(told(app.port, terminating=True))
        proxy.wait(lambda: len(up.answers) == 2)
        up.say(stream.Retired(2))
        proxy.wait(lambda: "nobody sends anything new" in proxy.errors.read_text())
        assert hook.waits(), "somebody waits for an answer"
        app.release.set()
        assert hook.outcome() == "retired"
        assert b" 200 " in slow.recv(65536)
        slow.close()


def test_an_application_is_held_back_while_callers_come_who_are_not_of_the_mesh(tmp_path: Path) -> None:
    """An ingress learns it a second later than sidecars do, and acknowledges nothing."""
    with backend() as app, running(tmp_path) as (proxy, up):
        up.publish(told(app.port))
        port = proxy.ready()
        assert proxy.ask(port, "/before").status == 200
        hook = Asking(proxy)
        up.publish(told(app.port, terminating=True))
        proxy.wait(lambda: len(up.answers) == 2)
        up.say(stream.Retired(2))
        proxy.wait(lambda: "nobody sends anything new" in proxy.errors.read_text())
        answers = []
        for _ in range(12):
            answers.append(proxy.ask(port, "/late"))
            time.sleep(0.25)
        assert {answer.status for answer in answers} == {200}
        assert hook.waits(), "they still come"
        assert hook.outcome() == "retired"
        assert hook.took > 3 + 1


def test_a_last_resort_serves_on_while_it_is_called_and_then_refuses(tmp_path: Path) -> None:
    with backend() as app, running(tmp_path) as (proxy, up):
        up.publish(told(app.port))
        port = proxy.ready()
        hook = Asking(proxy)
        assert hook.waits()
        up.publish(told(app.port, terminating=True, last_resort=True))
        proxy.wait(lambda: len(up.answers) == 2)
        caller = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for _ in range(4):
            time.sleep(0.5)
            caller.request("GET", "/during")
            answer = caller.getresponse()
            assert (answer.status, answer.headers["connection"]) == (200, None), "the connection is kept"
            answer.read()
        called = time.monotonic()
        assert readiness(proxy).status == 200
        assert hook.outcome() == "idle"
        assert time.monotonic() - called >= QUIET_SECONDS - 1, "nobody has called it for so long"
        assert readiness(proxy).json()["missing"] == ["draining"]
        with pytest.raises(ConnectionRefusedError):
            proxy.ask(port, "/after")
        caller.close()
        up.publish(told(app.port, terminating=True))
        proxy.wait(lambda: len(up.answers) == 3)
        assert isinstance(up.answers[2], stream.Resigned), "it has said so before"
        proxy.terminate()
        assert proxy.exit() == 0


def test_a_last_resort_leaves_when_somebody_else_has_come(tmp_path: Path) -> None:
    with backend() as app, running(tmp_path) as (proxy, up):
        up.publish(told(app.port, terminating=True, last_resort=True))
        port = proxy.ready()
        hook = Asking(proxy)
        assert hook.waits()
        up.publish(told(app.port, terminating=True))
        proxy.wait(lambda: len(up.answers) == 2)
        up.say(stream.Retired(2))
        assert hook.outcome() == "retired"
        assert proxy.ask(port, "/after").status == 200, "whoever comes late is not refused"


def test_a_restart_in_the_middle_goes_on_leaving(tmp_path: Path) -> None:
    settings = {"DISCOVERY": f"unix:{tmp_path / 'd.sock'}", "KEEP": str(tmp_path / "kept"), "POD_UID": POD}
    with backend() as app:
        with operator(str(tmp_path / "d.sock")) as up, sidecar(tmp_path, **settings) as proxy:
            up.publish(told(app.port, terminating=True))
            proxy.wait(lambda: len(up.answers) == 1 and (tmp_path / "kept").exists())
            proxy.terminate()
            assert proxy.exit() == 0
        with sidecar(tmp_path, LIMIT_RETIRE_SECONDS="0.5", **settings) as proxy:
            proxy.wait(lambda: readiness(proxy).json()["missing"] == ["draining"])
            late = Asking(proxy)
            assert late.outcome() == "late"
            assert late.took >= 0.5
            proxy.wait(lambda: "not retired within 0.5 s" in proxy.errors.read_text())


def test_an_operator_that_is_away_holds_nobody_back_for_ever(tmp_path: Path) -> None:
    with backend() as app, running(tmp_path, LIMIT_RETIRE_SECONDS="0.5") as (proxy, up):
        up.publish(told(app.port))
        proxy.ready()
        hook = Asking(proxy)
        assert hook.outcome() == "late"
        assert 0.5 <= hook.took < 10


def test_a_job_that_nobody_calls_completes_at_once(tmp_path: Path) -> None:
    with backend() as app, running(tmp_path) as (proxy, up):
        up.publish(told(app.port, named=False))
        proxy.ready()
        began = time.monotonic()
        assert Asking(proxy).outcome() == "unknown"
        proxy.terminate()
        assert proxy.exit() == 0
        assert time.monotonic() - began < 5


def test_a_sidecar_that_has_heard_nothing_yet_ends_when_told(tmp_path: Path) -> None:
    with sidecar(tmp_path, DISCOVERY=f"unix:{tmp_path / 'nobody.sock'}", POD_UID=POD) as proxy:
        assert Asking(proxy).outcome() == "unknown"
        proxy.terminate()
        assert proxy.exit() == 0


def test_connections_that_nobody_closes_end_in_time(tmp_path: Path) -> None:
    """A kept-alive one at once, a request that is never answered at the end of the drain time."""
    with backend() as app, running(tmp_path, LIMIT_DRAIN_SECONDS="3") as (proxy, up):
        up.publish(told(app.port))
        port = proxy.ready()
        idle = socket.create_connection(("127.0.0.1", port), 5)
        idle.sendall(b"GET /idle HTTP/1.1\r\nHost: reviews\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += idle.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        stuck = socket.create_connection(("127.0.0.1", port), 5)
        stuck.sendall(b"GET /slow HTTP/1.1\r\nHost: reviews\r\n\r\n")
        proxy.wait(lambda: any(one["path"] == "/slow" for one in app.asked))
        up.publish(told(app.port, terminating=True))
        proxy.wait(lambda: len(up.answers) == 2)
        began = time.monotonic()
        proxy.terminate()
        assert idle.recv(1) == b"", "an idle connection ends at once"
        assert time.monotonic() - began < 3, "not at the end of the drain time"
        assert b"503" in stuck.recv(65536).split(b"\r\n")[0]
        assert proxy.exit() == 0
        assert 3 <= time.monotonic() - began < 10
        assert "1 requests and" in proxy.errors.read_text().split("drained in")[1]
        idle.close()
        stuck.close()


def test_strangers_who_ask_keep_no_probe_out(tmp_path: Path) -> None:
    with backend() as app, running(tmp_path, LIMIT_RETIRE_SECONDS="3") as (proxy, up):
        up.publish(told(app.port))
        proxy.ready()
        probe = proxy.port("probe")
        strangers = [socket.create_connection(("127.0.0.1", probe), 5) for _ in range(40)]
        for one in strangers:
            one.sendall(b"GET /drain HTTP/1.1\r\nHost: x\r\n\r\n")
        proxy.wait(lambda: "sidewinder_drain_held 32\n" in proxy.metrics())
        assert readiness(proxy).status == 200
        answers = [b"".join(iter(lambda one=one: one.recv(65536), b"")) for one in strangers]  # type: ignore[misc]
        refused = [answer for answer in answers if b" 503 " in answer]
        assert len(refused) == 8
        assert all(b'"status":"late"' in answer for answer in answers if answer not in refused)
        assert "too many" in json.loads(refused[0].partition(b"\r\n\r\n")[2])["detail"]
        for one in strangers:
            one.close()


def test_a_websocket_and_a_long_download_are_waited_for_and_told(tmp_path: Path) -> None:
    """Both go on after SIGTERM, to their own end; the proxy tells what it waited for."""
    answers = {
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n": b"HTTP/1.1 101 Switching\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nabc",
        b"": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc",
    }
    upstream, go_on = Upstream(), threading.Event()
    upstream.serve(tuple((READ, answer, b"def") for answer in answers.values()), {2: go_on})
    callers = []
    try:
        with running(tmp_path, LIMIT_DRAIN_SECONDS="10") as (proxy, up):
            up.publish(told(upstream.port))
            port = proxy.ready()
            for fields in answers:
                caller = socket.create_connection(("127.0.0.1", port), 10)
                callers.append(caller)
                caller.sendall(b"GET / HTTP/1.1\r\nHost: reviews\r\n" + fields + b"\r\n")
                begun = b""
                while not begun.endswith(b"abc"):
                    begun += caller.recv(65536)
            proxy.terminate()
            proxy.wait(lambda: "stopping: 2 requests on 2 connections" in proxy.errors.read_text())
            go_on.set()
            for caller in callers:
                assert b"".join(iter(lambda one=caller: one.recv(65536), b"")) == b"def"  # type: ignore[misc]
                caller.close()
            assert proxy.exit() == 0
            assert "waited for 2 requests (1 upgraded) on 2 connections; 0 requests and 0" in proxy.errors.read_text()
    finally:
        go_on.set()
        upstream.close()
        for caller in callers:
            caller.close()


def test_an_up_tells_how_its_proxies_have_left(tmp_path: Path) -> None:
    """A replaced process: its proxy's last word is said, and kept for `sidewinder drains`."""
    with local_mesh.running("canary", tmp_path) as up:
        up.ready()
        manifest = up.folder / "processes.yaml"
        text = manifest.read_text()
        command = "command: [python3, apps/shop.py, ratings]"
        assert command in text
        manifest.write_text(text.replace(command, command + "\n  env: [{name: CHANGED, value: a}]"))
        assert "nothing was cut" in up.told("drained in")
        (drained,) = drains.in_up(up.state)
        assert "ratings" in drained.who
        assert 0 <= drained.report.drained <= drained.report.leaving < 10
        assert drains.is_well((drained,))
