"""Connections of a second of age, to callers and between proxies, under load: no request is lost by them. A POST is
never sent twice, so each one that met a closing connection would be seen. Real processes, mutual TLS between them."""

from __future__ import annotations

import http.client
import http.server
import random
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.authority import DOMAIN, trust
from tests.support.identities import identity, named
from tests.support.sidecar import Sidecar, sidecar, snapshot

pytestmark = pytest.mark.live

REVIEWS = f"spiffe://{DOMAIN}/ns/shop/sa/reviews"
AGES = {"LIMIT_CONNECTION_AGE_SECONDS": "1", "LIMIT_UPSTREAM_AGE_SECONDS": "1"}
LOAD_SECONDS = 6.0
CALLERS = 6


class App(http.server.BaseHTTPRequestHandler):
    """Reads all of a body, in chunks too, and says for which path."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        if length := self.headers["content-length"]:
            self.rfile.read(int(length))
        else:
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        self.send_response(200)
        self.send_header("content-length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def app() -> Iterator[int]:
    """Its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), App) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def hops(tmp_path: Path, app: int) -> Iterator[tuple[Sidecar, int]]:
    """The called proxy, and the calling one's port."""
    by = trust()
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir(), outside.mkdir()
    identity(inside / "id", by, named("reviews"))
    identity(outside / "id", by, named("web"))
    with sidecar(inside, snapshot(app), IDENTITY=str(inside / "id"), **AGES) as called:
        calling = snapshot(called.ready())
        [endpoint] = calling["endpoints/shop/reviews:9080"]["endpoints"]
        endpoint["identity"] = REVIEWS
        with sidecar(outside, calling, IDENTITY=str(outside / "id"), **AGES) as caller:
            yield called, caller.ready()


class Caller:
    """Posts on one connection, and makes another one only where an answer has said so."""

    def __init__(self, port: int, number: int) -> None:
        self.port = port
        self.random = random.Random(number)
        self.answered = self.closed = 0
        self.failures: list[str] = []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        until = time.monotonic() + LOAD_SECONDS
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.connect()
        connection.auto_open = 0  # a connection that is closed in between is a failure, and nothing to be mended
        while time.monotonic() < until:
            try:
                self._post(connection)
            except (http.client.HTTPException, OSError) as fault:
                self.failures.append(repr(fault))
                connection.close()
            if connection.sock is None:
                self.closed += 1
                connection.connect()
            time.sleep(self.random.choice((0.0, 0.0, 0.001, 0.02, 0.3)))  # some rest while they grow old
        connection.close()

    def _post(self, connection: http.client.HTTPConnection) -> None:
        body = b"an order " * self.random.choice((1, 20_000))
        pieces = iter((body[:1000], body[1000:])) if self.random.random() < 0.5 else None
        path = f"/{self.answered}"
        connection.request("POST", path, pieces or body, {"Host": "reviews"}, encode_chunked=pieces is not None)
        answer = connection.getresponse()
        read = answer.read()
        if answer.status != 200 or path.encode() not in read:
            self.failures.append(f"{answer.status} {read[:200]!r}")
        self.answered += 1


def test_no_request_is_lost_when_connections_grow_old(hops: tuple[Sidecar, int]) -> None:
    called, port = hops
    callers = [Caller(port, number) for number in range(CALLERS)]
    for each in callers:
        each.thread.join()

    assert [each.failures for each in callers] == [[]] * CALLERS
    assert sum(each.answered for each in callers) > 100
    assert min(each.closed for each in callers) >= 2, "they did grow old"
    handshakes = re.search(r'tls_handshakes_total\{.*side="server".* (\d+)', called.metrics())
    assert handshakes is not None
    assert int(handshakes[1]) > CALLERS, "and so did those between the proxies"
