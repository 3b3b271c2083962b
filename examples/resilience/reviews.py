"""Answers every request with its port; `/healthz` with 503 as long as a file `sick-PORT` lies beside it."""

from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT = os.environ["PORT"]
SICK = Path(__file__).with_name(f"sick-{PORT}")


class Reviews(BaseHTTPRequestHandler):
    """One answer for all, and one for who asks how it is."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body leave together

    def do_GET(self) -> None:
        body = f"{PORT}\n".encode()
        self.send_response(503 if self.path == "/healthz" and SICK.exists() else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """The sidecar tells who was called."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(PORT)), Reviews).serve_forever()
