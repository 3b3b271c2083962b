"""A sidecar in a process of its own, and a backend for it to call: what live tests run."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

STARTED = 20.0  # seconds to start on a machine that does other things too

PROGRAM = (sys.executable, "-c", "from sidewinder_sidecar.main import main; main()")

Snapshot = dict[str, dict[str, Any]]


class Backend:
    """An application that tells what it was asked: method, path, headers, body. Paths: /slow waits for `release`."""

    def __init__(self) -> None:
        self.port = 0
        self.release = threading.Event()
        self.asked: list[dict[str, Any]] = []
        self.status: Callable[[str], int] = lambda path: 200


@contextmanager
def backend() -> Iterator[Backend]:
    """A backend on a free port of loopback."""
    state = Backend()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            asked = {
                "method": self.command,
                "path": self.path,
                "headers": [[name.lower(), value] for name, value in self.headers.items()],
                "body": body.decode("latin-1"),
            }
            state.asked.append(asked)
            if self.path.startswith("/slow"):
                state.release.wait(20)
            answer = json.dumps(asked).encode()
            self.send_response(state.status(self.path))
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_PUT = do_GET  # noqa: N815 (names of http.server)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.port = server.server_address[1]
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    serving.start()
    try:
        yield state
    finally:
        state.release.set()
        server.shutdown()
        server.server_close()
        serving.join(5)


def snapshot(upstream: int, port: int = 0, **more: Any) -> Snapshot:
    """One listener, one service, one route to one endpoint. `more` are fields of the route's rule or `rules`."""
    service = "shop/reviews:9080"
    rules = more.pop("rules", None) or [{"name": "everyone", "backends": [{"backend": service}], **more}]
    listener = {"name": "in", "direction": "Inbound", "address": "127.0.0.1", "port": port, "default_service": service}
    endpoint = {"uid": "a", "address": "127.0.0.1", "port": upstream}
    return {
        "proxy/self": {"name": "reviews-v1", "namespace": "shop", "service": "reviews", "trace_percent": 100.0},
        "listener/in": listener,
        f"service/{service}": {
            "name": service, "namespace": "shop", "port": 9080, "domains": ["reviews"], "routes": ["shop/reviews"],
            "backend": service,
        },
        "route/shop/reviews": {"name": "shop/reviews", "rules": rules},
        f"backend/{service}": {"name": service, "endpoints": service, "service": "shop/reviews"},
        f"endpoints/{service}": {"name": service, "endpoints": [endpoint]},
    }  # fmt: skip


class Answer:
    """What came back."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    def json(self) -> Any:
        return json.loads(self.body)


class Sidecar:
    """A running process; ports are learned from its log and its readiness page."""

    def __init__(self, folder: Path, environment: dict[str, str], program: tuple[str, ...] = PROGRAM) -> None:
        self.output, self.errors = folder / "stdout", folder / "stderr"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SIDEWINDER_")}
        settings = {"SIDEWINDER_PROBE_ADDRESS": "127.0.0.1", "SIDEWINDER_PROBE_PORT": "0", "SIDEWINDER_ADMIN_PORT": "0"}
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                program,
                env=kept | settings | environment,
                stdout=output,
                stderr=errors,
            )

    def wait(self, condition: Callable[[], Any], seconds: float = STARTED) -> Any:
        """What the condition gives, once it is true. Fails with the process's own log."""
        until = time.monotonic() + seconds
        while not (found := condition()):
            alive = self.process.poll() is None
            assert alive, f"exit {self.process.returncode}\n{self.errors.read_text()}"
            assert time.monotonic() < until, f"not within {seconds} s\n{self.errors.read_text()}"
            time.sleep(0.02)
        return found

    def port(self, what: str) -> int:
        """The `probe` or `admin` port, from the log."""
        pattern = re.compile(rf'"{what} port on [^"]*:(\d+)"')
        return int(self.wait(lambda: pattern.search(self.errors.read_text()))[1])

    def ready(self) -> int:
        """Wait until it serves; the listener's port."""
        port = self.port("probe")
        self.wait(lambda: self.ask(port, "/readyz").status == 200)
        listeners: dict[str, int] = self.ask(port, "/readyz").json()["listeners"]
        return next(iter(listeners.values()))

    def ask(self, port: int, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def metrics(self) -> str:
        return self.ask(self.port("probe"), "/metrics").body.decode()

    def log(self, count: int) -> list[dict[str, Any]]:
        """The access log, once it has so many lines."""
        self.wait(lambda: self.output.read_bytes().count(b"\n") >= count)
        return [json.loads(line) for line in self.output.read_bytes().splitlines()]

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def exit(self, seconds: float = 10.0) -> int:
        """The exit status, once it has ended."""
        return self.process.wait(seconds)


@contextmanager
def sidecar(folder: Path, fixed: Snapshot | None = None, **settings: str) -> Iterator[Sidecar]:
    """A process that ends with the block. `settings` are variables without their prefix."""
    environment = {f"SIDEWINDER_{name}": value for name, value in settings.items()}
    if fixed is not None:
        file = folder / "snapshot.json"
        file.write_text(json.dumps(fixed))
        environment["SIDEWINDER_SNAPSHOT"] = str(file)
    running = Sidecar(folder, environment)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait(10)


def raw(port: int, request: bytes, seconds: float = 5.0) -> bytes:
    """Bytes in, all bytes out until the other end closes."""
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        connection.sendall(request)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer
