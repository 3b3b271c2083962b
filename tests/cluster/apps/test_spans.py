"""The OTLP receiver against the exporter that everybody uses."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.cluster.apps import http1, spans
from tests.cluster.support.background import serving


@pytest.fixture
def port() -> Iterator[int]:
    with serving(http1.answering(spans.Receiver())) as number:
        yield number


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path, body)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if answer.getheader("Content-Type") == "application/json" else text


@pytest.mark.parametrize("compression", list(Compression), ids=lambda value: value.name)
def test_exported_spans_can_be_asked_for(port: int, compression: Compression) -> None:
    provider = TracerProvider(resource=Resource({"service.name": "shop"}))
    exporter = OTLPSpanExporter(f"http://127.0.0.1:{port}/v1/traces", compression=compression)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("outer") as outer, tracer.start_as_current_span("inner") as inner:
        inner.set_attributes({"http.response.status_code": 200, "sizes": [1, 2], "ok": True, "name": "n"})
    provider.shutdown()
    trace = f"{outer.get_span_context().trace_id:032x}"
    status, found = ask(port, "GET", f"/spans?trace={trace}&service=shop")
    assert (status, [span["name"] for span in found]) == (200, ["inner", "outer"])
    assert found[0]["parent"] == found[1]["span"] == f"{outer.get_span_context().span_id:016x}"
    assert found[0]["attributes"] == {"http.response.status_code": 200, "sizes": [1, 2], "ok": True, "name": "n"}
    assert found[0]["end_ns"] >= found[0]["start_ns"] > 0
    assert ask(port, "GET", "/spans?name=outer")[1] == found[1:]
    assert ask(port, "GET", "/spans?service=other")[1] == []


def test_forgetting_and_counting(port: int) -> None:
    assert ask(port, "POST", "/v1/metrics", b"")[0] == 200
    assert ask(port, "POST", "/v1/traces", b"")[0] == 200  # an export of no spans
    assert ask(port, "GET", "/healthz")[1] == {"spans": 0, "exports": {"/v1/metrics": 1, "/v1/traces": 1}}
    assert ask(port, "DELETE", "/spans") == (200, [])


def test_what_is_no_export_is_refused(port: int) -> None:
    assert ask(port, "POST", "/v1/traces", b"\xff\xff")[0] == 400
    assert ask(port, "GET", "/elsewhere")[0] == 404
