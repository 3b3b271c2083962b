"""A door's answer, and which pods have one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from sidewinder_operator.cli import doors


@pytest.fixture
def port() -> Iterator[int]:
    """An admin port."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/page" else 404)
            self.send_header("Content-Length", "7")
            self.end_headers()
            self.wfile.write(b'{"a":1}')

        def log_message(self, *words: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_page_is_read_and_anything_else_is_a_fault(port: int) -> None:
    assert doors.ask(port, "/page") == {"a": 1}
    with pytest.raises(OSError, match="/other is answered with 404"):
        doors.ask(port, "/other")
    with pytest.raises(OSError, match="refused"):
        doors.ask(1, "/page")


@pytest.mark.parametrize(
    ("pod", "proxied", "running"),
    [
        pytest.param({"spec": {}, "status": {}}, False, True, id="bare"),
        pytest.param(
            {"spec": {"initContainers": [{"name": "sidewinder-proxy"}]}, "status": {"phase": "Running"}},
            True,
            True,
            id="proxied",
        ),
        pytest.param({"spec": {}, "status": {"phase": "Failed"}}, False, False, id="ended"),
    ],
)
def test_which_pods_can_be_asked(pod: Any, proxied: bool, running: bool) -> None:
    assert (doors.is_proxied(pod), doors.is_running(pod)) == (proxied, running)
