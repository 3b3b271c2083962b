"""One application of the shop front: `bookinfo.py NAME`, on the port in PORT. It says who it is and what reached it.

productpage also calls others, as a page does: `GET /call/reviews/reviews/1` asks `http://reviews:9080/reviews/1`,
with the caller's own headers, and passes on what it was told. It knows nothing of certificates, tokens or rules: the
sidecars do.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = sys.argv[1]
OWN = {"host", "connection", "content-length", "via", "forwarded", "accept-encoding"}  # of each call, not of the caller


class Bookinfo(BaseHTTPRequestHandler):
    """Any method, any path."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body leave together

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        service, _, path = self.path.removeprefix("/call/").partition("/")
        if NAME == "productpage" and self.path.startswith("/call/"):
            status, told = self.call(f"http://{service}:9080/{path}")
            self.answer(status, told)
        else:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.answer(200, {"application": NAME, "method": self.command, "path": self.path, "headers": headers})

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET  # noqa: N815

    def call(self, url: str) -> tuple[int, object]:
        """What the other application said, or why it did not."""
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OWN}
        request = urllib.request.Request(url, headers=headers, method=self.command)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return reply.status, {"application": NAME, "called": json.load(reply)}
        except urllib.error.HTTPError as refused:
            with refused:
                told = {"status": refused.code, "why": refused.headers.get("proxy-status", "")}
                return refused.code, {"application": NAME, "called": told}
        except OSError as fault:
            return 502, {"application": NAME, "called": str(fault)}

    def answer(self, status: int, told: object) -> None:
        raw = b"" if self.command == "HEAD" else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args: object) -> None:
        """The sidecar tells who was called."""


class Server(ThreadingHTTPServer):
    """A thread a connection, and room for a burst of them."""

    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    Server((os.environ.get("ADDRESS", "127.0.0.1"), int(os.environ["PORT"])), Bookinfo).serve_forever()
