"""An authorization service: whoever shows a ticket that is a name in lower case is that user, all others are refused.

It is asked with GET at /check; what was asked for stands in x-forwarded-method, -host and -uri.
"""

from __future__ import annotations

import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Tickets(BaseHTTPRequestHandler):
    """2xx lets a request pass, anything else is the caller's answer."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        ticket = self.headers.get("x-ticket", "")
        good = ticket.isalpha() and ticket.islower()
        body = b"" if good else b"no ticket, no quotes\n"
        self.send_response(200 if good else 403)
        if good:
            self.send_header("x-user", ticket)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """The sidecar tells who was called."""


if __name__ == "__main__":
    # The port that proxies ask, and the one that `sidewinder up` looks at to see whether this runs.
    asked = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Tickets)
    threading.Thread(target=asked.serve_forever, daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Tickets).serve_forever()
