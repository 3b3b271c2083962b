"""A real OTLP/HTTP receiver: decodes what arrives by opentelemetry-proto, answers as told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Receiver:
    """`spans` are dicts: name, kind, trace_id, span_id, parent_id (hex), attributes, resource, status, start, end."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.requests: list[dict[str, str]] = []  # header fields, lower case
        self.status = 200
        self.port = 0
        self._arrived = threading.Condition()

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """One request."""
        with self._arrived:
            self.requests.append(headers)
            if self.status == 200:
                self.spans.extend(decoded(body))
            self._arrived.notify_all()
            return self.status

    def wait(self, count: int, seconds: float = 15.0) -> list[dict[str, Any]]:
        """The spans, once there are so many. Fails with what came instead."""
        with self._arrived:
            done = self._arrived.wait_for(lambda: len(self.spans) >= count, seconds)
            assert done, f"{len(self.spans)} of {count} spans within {seconds} s: {self.spans}"
            return list(self.spans)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def decoded(body: bytes) -> Iterator[dict[str, Any]]:
    """The spans of one export request."""
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = attributes(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield {
                    "name": span.name,
                    "kind": span.kind,
                    "trace_id": span.trace_id.hex(),
                    "span_id": span.span_id.hex(),
                    "parent_id": span.parent_span_id.hex(),
                    "attributes": attributes(span.attributes),
                    "resource": resource,
                    "status": span.status.code,
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                }


def attributes(found: Any) -> dict[str, Any]:
    """Key and value of each attribute."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in found}


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver on a free port of loopback."""
    taken = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces", self.path
            status = taken.take({name.lower(): value for name, value in self.headers.items()}, body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    taken.port = server.server_address[1]
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    serving.start()
    try:
        yield taken
    finally:
        server.shutdown()
        server.server_close()
        serving.join(5)
