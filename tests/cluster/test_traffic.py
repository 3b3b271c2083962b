"""The load client and the OTLP receiver, as tests of the mesh will use them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.bed.waiting import until
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.traffic import Load

pytestmark = pytest.mark.cluster

# One span, made by hand with the same package the receiver decodes with; the unit test uses the real exporter.
EXPORT = """
import urllib.request
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
request = ExportTraceServiceRequest()
span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, name="sent")
call = urllib.request.Request("http://127.0.0.1:4318/v1/traces", request.SerializeToString())
print(urllib.request.urlopen(call, timeout=5).status)
"""


def test_a_load_runs_until_it_is_told_to_stop(namespace: Namespace, load: Callable[..., Load]) -> None:
    namespace.apply("backend.yaml")
    namespace.wait_for("Pod/backend")
    with load("http://backend/", rate=50, concurrency=4) as running:
        seen = []
        until("100 of its requests", lambda: seen.append(arrived(namespace)) or seen[-1] >= 100, 60, 0.2)
    assert running.result
    running.result.assert_no_failures()
    # What came once more on a new connection has arrived twice and counts once.
    assert running.result.requests + running.result.stale >= seen[-1]


def arrived(namespace: Namespace) -> int:
    """What load clients have sent to the backend: no probe of the kubelet, no look of this test."""
    told: dict[str, Any] = json.loads(
        namespace.run_in_pod("backend", "python3", "-m", "apps", "get", "http://127.0.0.1:8080/")
    )
    return int(told["of_loads"])


def test_a_load_tells_each_failure(namespace: Namespace, load: Callable[..., Load]) -> None:
    namespace.apply("backend.yaml")
    namespace.wait_for("Pod/backend")
    with load("http://backend/?status=503", requests=10) as running:
        result = running.wait()
    assert (result.requests, result.failures, len(result.failures_told)) == (10, 10, 10)
    assert json.loads(result.failures_told[0])["failure"] == "status 503"


def test_the_receiver_tells_the_spans_it_got(namespace: Namespace) -> None:
    namespace.apply("backend.yaml")
    namespace.wait_for("Pod/spans")
    assert namespace.run_in_pod("spans", "python3", "-c", EXPORT).strip() == "200"
    found = json.loads(
        namespace.run_in_pod("spans", "python3", "-m", "apps", "get", "http://127.0.0.1:4318/spans?name=sent")
    )
    assert [span["trace"] for span in found] == [(b"t" * 16).hex()]
