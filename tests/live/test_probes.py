"""The kubelet's probes through a running proxy: real applications behind it, of every temper, and no configuration."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sidewinder_sidecar.main.probing import MOST_JOINED
from sidewinder_sidecar.snapshot.probes import HttpProbe, Probe, TcpProbe, encode
from tests.support.sidecar import Sidecar, backend, sidecar, snapshot
from tests.support.sockets import certificate

pytestmark = pytest.mark.live


@contextmanager
def secured(folder: Path) -> Iterator[int]:
    """The port of an application that answers 200 over TLS, with a certificate that nobody knows."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = certificate(folder)[0].wrap_socket(server.socket, server_side=True)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    serving.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        serving.join(5)


def refused() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port: int = gone.getsockname()[1]
        return port


@contextmanager
def asking(folder: Path, probes: dict[str, Probe], fixed: object = None) -> Iterator[Sidecar]:
    with sidecar(folder, fixed, PROBES=encode(probes), POD_ADDRESS="127.0.0.1") as proxy:  # type: ignore[arg-type]
        yield proxy


def told(proxy: Sidecar, name: str) -> tuple[int, str]:
    answer = proxy.ask(proxy.port("probe"), f"/probes/{name}")
    return answer.status, answer.body.decode()


def test_the_application_is_asked_before_there_is_a_configuration(tmp_path: Path) -> None:
    nobody = refused()
    with backend() as app, secured(tmp_path) as tls:
        app.status = lambda path: {"/busy": 503, "/moved": 302}.get(path, 200)
        probes: dict[str, Probe] = {
            "ready/readiness": HttpProbe(port=app.port, target="/healthz?deep=1", headers=(("X-Probe", "$(HOME)"),)),
            "busy/readiness": HttpProbe(port=app.port, target="/busy"),
            "moved/readiness": HttpProbe(port=app.port, target="/moved"),
            "hangs/liveness": HttpProbe(port=app.port, target="/slow"),
            "tls/startup": HttpProbe(port=tls, tls=True, host="web.example", seconds=10),
            "plain/startup": HttpProbe(port=tls, seconds=10),
            "gone/liveness": HttpProbe(port=nobody),
            "open/liveness": TcpProbe(port=app.port),
            "closed/liveness": TcpProbe(port=nobody),
        }
        with asking(tmp_path, probes) as proxy:
            assert proxy.ask(proxy.port("probe"), "/readyz").status == 503
            statuses = {name: told(proxy, name) for name in probes}
            assert {name for name, (status, _) in statuses.items() if status == 200} == {
                "ready/readiness", "moved/readiness", "tls/startup", "open/liveness",
            }  # fmt: skip
            assert "answered with status 503" in statuses["busy/readiness"][1]
            assert "within 1 s" in statuses["hangs/liveness"][1]
            assert "refused" in statuses["gone/liveness"][1]
            assert "refused" in statuses["closed/liveness"][1]
            seen = next(one for one in app.asked if one["path"] == "/healthz?deep=1")
            assert ["x-probe", "$(HOME)"] in seen["headers"]
            log = proxy.errors.read_text()
            assert log.count("busy/readiness: port") == 1
            assert "moved/readiness: passed with status 302" in log


def test_nothing_else_can_be_asked(tmp_path: Path) -> None:
    with backend() as app, asking(tmp_path, {"web/readiness": HttpProbe(port=app.port)}) as proxy:
        for path in ("web/liveness", "web", "", "web/readiness/", "../web/readiness", f"127.0.0.1:{app.port}/"):
            assert told(proxy, path)[0] == 404
        assert proxy.ask(proxy.port("probe"), "/probes/web/readiness", "POST").status == 405
        assert told(proxy, "web/readiness?port=22")[0] == 200
        assert [one["path"] for one in app.asked] == ["/"]


def test_a_probe_says_what_is_now_and_a_drain_is_not_the_applications(tmp_path: Path) -> None:
    with backend() as app:
        probes: dict[str, Probe] = {"web/readiness": HttpProbe(port=app.port, target="/healthz")}
        with asking(tmp_path, probes, snapshot(app.port)) as proxy:
            proxy.ready()
            assert told(proxy, "web/readiness")[0] == 200
            assert proxy.ask(proxy.port("admin"), "/drain", "POST").status == 200
            assert proxy.ask(proxy.port("probe"), "/readyz").status == 503
            assert told(proxy, "web/readiness")[0] == 200
            app.status = lambda path: 500
            proxy.wait(lambda: told(proxy, "web/readiness")[0] == 503)


def test_a_crowd_of_strangers_asks_an_application_no_more_than_one(tmp_path: Path) -> None:
    probe = "web/readiness"
    with backend() as app, asking(tmp_path, {probe: HttpProbe(port=app.port, target="/slow", seconds=20)}) as proxy:
        port = proxy.port("probe")

        def ask(_: int) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request("GET", "/probes/web/readiness")
                return connection.getresponse().status
            finally:
                connection.close()

        with ThreadPoolExecutor(20) as crowd:
            asked = [crowd.submit(ask, number) for number in range(20)]
            turned_away = 20 - 1 - MOST_JOINED
            proxy.wait(lambda: sum(one.done() for one in asked) == turned_away)
            app.release.set()
        assert sorted(one.result() for one in asked) == [200] * (1 + MOST_JOINED) + [503] * turned_away
        assert len(app.asked) == 1
