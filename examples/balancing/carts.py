"""Keeps carts in memory, by the cookie `cart`, and puts one more thing into the caller's with each request."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = sys.argv[1]
CARTS: Counter[str] = Counter()


class Carts(BaseHTTPRequestHandler):
    """Who answers, and how many things are in the cart."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body leave together

    def do_GET(self) -> None:
        cookies = SimpleCookie(self.headers.get("cookie", ""))
        cart = cookies["cart"].value if "cart" in cookies else ""
        CARTS[cart] += 1
        told = {"version": VERSION, "replica": os.getpid(), "things": CARTS[cart] if cart else 1}
        answer = json.dumps(told).encode() + b"\n"
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        """The sidecar tells who was called."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Carts).serve_forever()
