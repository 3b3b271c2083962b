"""One application of the shop front: `shop.py productpage|reviews|ratings [version]`, on the port in PORT.

productpage calls reviews, reviews calls ratings, by the names that their Services have on a cluster. On one machine the
mesh comes in through the environment alone: urllib sends every call to the sidecar named in HTTP_PROXY. On a cluster
nothing of it is seen. All that an application does for tracing is to copy a few headers from the call that it serves to
the calls that it makes.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CALLS = {"productpage": "http://reviews:9080/reviews/1", "reviews": "http://ratings:9080/ratings/1", "ratings": ""}
COPIED = ("traceparent", "tracestate", "x-request-id", "x-request-deadline", "x-beta", "cookie")

NAME = sys.argv[1]
VERSION = sys.argv[2] if len(sys.argv) > 2 else "v1"


class Shop(BaseHTTPRequestHandler):
    """Answers every GET with what it is and what it was told by the one it calls."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body leave together

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer(200, {"status": "ok"})
        elif not CALLS[NAME]:
            self.answer(200, {"application": NAME, "version": VERSION, "stars": 5 if VERSION == "v1" else 4})
        else:
            status, body, cookies = self.call(CALLS[NAME])
            self.answer(status, {"application": NAME, "version": VERSION, "called": body}, cookies)

    def call(self, url: str) -> tuple[int, object, list[str]]:
        """Calls the next application with the headers of this call."""
        headers = {name: self.headers[name] for name in COPIED if name in self.headers}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as reply:
                return reply.status, json.load(reply), reply.headers.get_all("set-cookie", [])
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode(errors="replace"), []
        except OSError as fault:
            return 502, str(fault), []

    def answer(self, status: int, body: object, cookies: list[str] = ()) -> None:  # type: ignore[assignment]
        """A JSON answer; what the callee wants the browser to remember goes on to it."""
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        for cookie in cookies:
            self.send_header("set-cookie", cookie)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args: object) -> None:
        """The sidecar tells who was called."""


class Server(ThreadingHTTPServer):
    """A thread a connection, and room for a burst of them."""

    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    print(f"{NAME} {VERSION} listens on {os.environ['PORT']}")
    Server((os.environ.get("ADDRESS", "127.0.0.1"), int(os.environ["PORT"])), Shop).serve_forever()
