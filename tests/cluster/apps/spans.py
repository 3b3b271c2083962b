"""An OTLP receiver that can be asked what it got.

Called by __main__.py and the tests; calls http1.py. It takes OTLP over HTTP (protobuf, compressed or not) at
/v1/traces, and counts what comes to /v1/metrics and /v1/logs. GET /spans answers with the spans as JSON, newest
last, filtered by the query: `service`, `trace`, `name`; DELETE /spans forgets them.
"""

from __future__ import annotations

import collections
import gzip
import json
import zlib
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from . import http1

# Spans of one test fit many times; a test that forgets to clear does not fill the pod's memory.
KEPT = 200_000
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}


def _value(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    if kind == "bytes_value":
        return value.bytes_value.hex()
    return getattr(value, kind) if kind else None


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, object]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _told(span: Span, about: dict[str, object]) -> dict[str, Any]:
    return {
        "service": about.get("service.name", ""),
        "trace": span.trace_id.hex(),
        "span": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "name": span.name,
        "kind": span.kind,
        "status": span.status.code,
        "start_ns": span.start_time_unix_nano,
        "end_ns": span.end_time_unix_nano,
        "attributes": _attributes(span.attributes),
        "resource": about,
    }


def decode(body: bytes) -> list[dict[str, Any]]:
    """The spans of one export, each with its resource's attributes."""
    request = ExportTraceServiceRequest.FromString(body)
    spans: list[dict[str, Any]] = []
    for resource in request.resource_spans:
        about = _attributes(resource.resource.attributes)
        for scope in resource.scope_spans:
            spans.extend(_told(span, about) for span in scope.spans)
    return spans


class Receiver:
    """What arrived so far."""

    def __init__(self) -> None:
        self._spans: collections.deque[dict[str, Any]] = collections.deque(maxlen=KEPT)
        self._exports: collections.Counter[str] = collections.Counter()

    def __call__(self, request: http1.Message) -> bytes:
        method, target, _ = request.start
        place = urlsplit(target)
        if method == "POST" and place.path in ("/v1/traces", "/v1/metrics", "/v1/logs"):
            return self._receive(place.path, request)
        if place.path == "/spans" and method in ("GET", "DELETE"):
            if method == "DELETE":
                self._spans.clear()
            return http1.json_response(200, self.find(**dict(parse_qsl(place.query))))
        if place.path == "/healthz":
            return http1.json_response(200, {"spans": len(self._spans), "exports": dict(self._exports)})
        return http1.json_response(404, {"error": f"{method} {place.path} is nothing here"})

    def find(self, **wanted: str) -> list[dict[str, Any]]:
        """The spans whose named fields have these values."""
        return [span for span in self._spans if all(span.get(key) == value for key, value in wanted.items())]

    def _receive(self, path: str, request: http1.Message) -> bytes:
        try:
            body = CODINGS[request.header("content-encoding", "identity")](request.body)
            if path == "/v1/traces":
                self._spans.extend(decode(body))
        except (DecodeError, KeyError, OSError, EOFError, zlib.error) as error:
            print(json.dumps({"refused": path, "error": str(error)}), flush=True)
            return http1.response(400, str(error).encode())
        self._exports[path] += 1
        return http1.response(200, b"", ("Content-Type", "application/x-protobuf"))  # empty: all accepted
